#include "pkg/base/semver.h"

#include <algorithm>

#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"

namespace kcube {
namespace {

constexpr std::string_view kOutOfRange = ": value out of range";

bool numeric(std::string_view text) { return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }); }
bool identifier(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-'; });
}

int compare_parts(const std::string& a, const std::string& b) {
  if (numeric(a) != numeric(b)) return numeric(a) ? -1 : 1;
  if (numeric(a) && a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  return a < b ? -1 : a > b;
}

}  // namespace

std::optional<Semver> parse_semver(std::string_view text, std::string& error) {
  if (text.empty()) return error = "Version string empty", std::nullopt;
  std::string_view build, pre;
  bool has_build = false, has_pre = false;
  if (size_t plus = text.find('+'); plus != std::string_view::npos) build = text.substr(plus + 1), text = text.substr(0, plus), has_build = true;
  if (size_t dash = text.find('-'); dash != std::string_view::npos) pre = text.substr(dash + 1), text = text.substr(0, dash), has_pre = true;
  std::vector<std::string_view> parts = split(text, '.');
  if (parts.size() != 3) return error = parts.size() < 3 ? "No Major.Minor.Patch elements found" : "Invalid character(s) found in patch number " + go_quoted(text), std::nullopt;
  static constexpr std::string_view names[]{"major", "minor", "patch"}, titles[]{"Major", "Minor", "Patch"};
  Semver version;
  std::string too_large;   // told when nothing else is wrong
  for (int i = 0; i < 3; ++i) {
    if (!numeric(parts[i])) return error = "Invalid character(s) found in " + std::string(names[i]) + " number " + go_quoted(parts[i]), std::nullopt;
    if (parts[i].size() > 1 && parts[i][0] == '0') return error = std::string(titles[i]) + " number must not contain leading zeroes " + go_quoted(parts[i]), std::nullopt;
    auto number = parse_int<uint64_t>(parts[i]);
    if (!number && too_large.empty()) too_large = "strconv.ParseUint: parsing " + go_quoted(parts[i]) + std::string(kOutOfRange);
    version.numbers[i] = number.value_or(0);
  }
  if (has_pre) {
    for (std::string_view part : split(pre, '.')) {
      if (part.empty()) return error = "Prerelease is empty", std::nullopt;
      if (numeric(part) && part.size() > 1 && part[0] == '0') return error = "Numeric PreRelease version must not contain leading zeroes " + go_quoted(part), std::nullopt;
      if (!identifier(part)) return error = "Invalid character(s) found in prerelease " + go_quoted(part), std::nullopt;
      version.pre_release.emplace_back(part);
    }
  }
  if (has_build) {
    for (std::string_view part : split(build, '.')) {
      if (part.empty()) return error = "Build meta data is empty", std::nullopt;
      if (!identifier(part)) return error = "Invalid character(s) found in build meta data " + go_quoted(part), std::nullopt;
    }
  }
  if (!too_large.empty()) return error = too_large, std::nullopt;
  return version;
}

bool is_semver(std::string_view text) {
  std::string error;
  return parse_semver(text, error) || error.ends_with(kOutOfRange);
}

int compare(const Semver& a, const Semver& b) {
  for (int i = 0; i < 3; ++i) {
    if (a.numbers[i] != b.numbers[i]) return a.numbers[i] < b.numbers[i] ? -1 : 1;
  }
  if (a.pre_release.empty() != b.pre_release.empty()) return a.pre_release.empty() ? 1 : -1;
  for (size_t i = 0; i < std::min(a.pre_release.size(), b.pre_release.size()); ++i) {
    if (int part = compare_parts(a.pre_release[i], b.pre_release[i])) return part;
  }
  return a.pre_release.size() < b.pre_release.size() ? -1 : a.pre_release.size() > b.pre_release.size();
}

}  // namespace kcube
