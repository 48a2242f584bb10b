// Text as Go prints it with %q, for messages that clients of the real server know.
#pragma once

#include <string>
#include <string_view>

namespace kcube {

// In double quotes, with what is not to be seen escaped.
std::string go_quoted(std::string_view text);

}  // namespace kcube
