// Completion scripts for shells.
#pragma once

#include <string>
#include <vector>

namespace kcube::cli {

// For "bash", "zsh" or "fish"; empty for any other.
std::string completion_script(const std::string& shell, const std::vector<std::string>& verbs, const std::vector<std::string>& flags);

}  // namespace kcube::cli
