// Versions of three numbers with pre-release and build. Source: semver.org 2.0.0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kcube {

struct Semver {
  uint64_t numbers[3]{};                     // major, minor, patch
  std::vector<std::string> pre_release;      // its parts; build does not count
};

// "1.2.3-rc.1+build"; nothing when it is none, with the reason in `error`, as Go's semver library says it.
std::optional<Semver> parse_semver(std::string_view text, std::string& error);

// Whether it has the form; the numbers may be larger than any that parse_semver() holds.
bool is_semver(std::string_view text);

// Negative, 0 or positive, by precedence.
int compare(const Semver& a, const Semver& b);

}  // namespace kcube
