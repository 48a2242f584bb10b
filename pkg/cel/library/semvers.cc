// semver(): versions of three numbers with pre-release and build (semver.org 2.0.0).
#include <algorithm>

#include "pkg/base/strings.h"
#include "pkg/cel/functions.h"
#include "pkg/cel/library/text.h"

namespace kcube::cel {

const TypeRef& semver_type() {
  static const TypeRef type = Type::opaque("kubernetes.Semver");
  return type;
}

namespace {

struct Version {
  uint64_t numbers[3]{};
  std::vector<std::string> pre_release;      // build does not count
};

class SemverValue final : public Opaque {
 public:
  explicit SemverValue(Version version) : version(std::move(version)) {}
  const Type& type() const override { return *semver_type(); }
  bool equals(const Opaque& other) const override;
  const Version version;
};

bool numeric(std::string_view text) { return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }); }
bool identifier(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-'; });
}

std::optional<Version> parse(std::string_view text, std::string& error) {
  if (text.empty()) return error = "Version string empty", std::nullopt;
  std::string_view build, pre;
  bool has_build = false, has_pre = false;
  if (size_t plus = text.find('+'); plus != std::string_view::npos) build = text.substr(plus + 1), text = text.substr(0, plus), has_build = true;
  if (size_t dash = text.find('-'); dash != std::string_view::npos) pre = text.substr(dash + 1), text = text.substr(0, dash), has_pre = true;
  std::vector<std::string_view> parts = split(text, '.');
  if (parts.size() != 3) return error = parts.size() < 3 ? "No Major.Minor.Patch elements found" : "Invalid character(s) found in patch number " + quoted(text), std::nullopt;
  static constexpr std::string_view names[]{"major", "minor", "patch"}, titles[]{"Major", "Minor", "Patch"};
  Version version;
  for (int i = 0; i < 3; ++i) {
    if (!numeric(parts[i])) return error = "Invalid character(s) found in " + std::string(names[i]) + " number " + quoted(parts[i]), std::nullopt;
    if (parts[i].size() > 1 && parts[i][0] == '0') return error = std::string(titles[i]) + " number must not contain leading zeroes " + quoted(parts[i]), std::nullopt;
    auto number = parse_int<uint64_t>(parts[i]);
    if (!number) return error = "strconv.ParseUint: parsing " + quoted(parts[i]) + ": value out of range", std::nullopt;
    version.numbers[i] = *number;
  }
  if (has_pre) {
    for (std::string_view part : split(pre, '.')) {
      if (part.empty()) return error = "Prerelease is empty", std::nullopt;
      if (numeric(part) && part.size() > 1 && part[0] == '0') return error = "Numeric PreRelease version must not contain leading zeroes " + quoted(part), std::nullopt;
      if (!identifier(part)) return error = "Invalid character(s) found in prerelease " + quoted(part), std::nullopt;
      version.pre_release.emplace_back(part);
    }
  }
  if (has_build) {
    for (std::string_view part : split(build, '.')) {
      if (part.empty()) return error = "Build meta data is empty", std::nullopt;
      if (!identifier(part)) return error = "Invalid character(s) found in build meta data " + quoted(part), std::nullopt;
    }
  }
  return version;
}

// "v1.02" is 1.2.0.
std::optional<Version> normalize(std::string_view text, std::string& error) {
  if (text.starts_with('v')) text.remove_prefix(1);
  std::vector<std::string> parts;
  for (int i = 0; i < 3; ++i) {
    size_t dot = i < 2 ? text.find('.') : std::string_view::npos;
    std::string part(text.substr(0, dot));
    size_t zeros = std::min(part.find_first_not_of('0'), part.size());
    if (part.size() > 1) {
      part.erase(0, zeros);
      if (part.empty() || part[0] < '0' || part[0] > '9') part.insert(0, "0");
    }
    parts.push_back(std::move(part));
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  if (parts.size() < 3 && parts.back().find_first_of("+-") != std::string::npos) {
    return error = "short version cannot contain PreRelease/Build meta data", std::nullopt;
  }
  while (parts.size() < 3) parts.emplace_back("0");
  return parse(parts[0] + "." + parts[1] + "." + parts[2], error);
}

int compare_parts(const std::string& a, const std::string& b) {
  if (numeric(a) != numeric(b)) return numeric(a) ? -1 : 1;
  if (numeric(a) && a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  return a < b ? -1 : a > b;
}

int order(const Version& a, const Version& b) {
  for (int i = 0; i < 3; ++i) {
    if (a.numbers[i] != b.numbers[i]) return a.numbers[i] < b.numbers[i] ? -1 : 1;
  }
  if (a.pre_release.empty() != b.pre_release.empty()) return a.pre_release.empty() ? 1 : -1;
  for (size_t i = 0; i < std::min(a.pre_release.size(), b.pre_release.size()); ++i) {
    if (int part = compare_parts(a.pre_release[i], b.pre_release[i])) return part;
  }
  return a.pre_release.size() < b.pre_release.size() ? -1 : a.pre_release.size() > b.pre_release.size();
}

bool SemverValue::equals(const Opaque& other) const { return order(version, static_cast<const SemverValue&>(other).version) == 0; }

const Version& of(const Value& v) { return v.opaque_as<SemverValue>()->version; }

std::optional<Version> read(Arguments a, std::string& error) {
  return a.size() == 2 && a[1].as_boolean() ? normalize(a[0].as_text(), error) : parse(a[0].as_text(), error);
}
Value make(Arguments a, const Node&) {
  std::string error;
  auto version = read(a, error);
  return version ? Value::opaque(new SemverValue(std::move(*version))) : Value::failure(std::move(error));
}
Value is_semver(Arguments a, const Node&) {
  std::string error;
  return Value::boolean(read(a, error).has_value());
}
Value greater(Arguments a, const Node&) { return Value::boolean(order(of(a[0]), of(a[1])) > 0); }
Value less(Arguments a, const Node&) { return Value::boolean(order(of(a[0]), of(a[1])) < 0); }
Value compare_to(Arguments a, const Node&) { return Value::integer(order(of(a[0]), of(a[1]))); }
template <int index>
Value number(Arguments a, const Node&) { return Value::integer(static_cast<int64_t>(of(a[0]).numbers[index])); }

constexpr FunctionRow kRows[]{
    {"semver", "(string) semver", make, CostRule::traverse},
    {"semver", "(string, bool) semver", make, CostRule::traverse},
    {"isSemver", "(string) bool", is_semver, CostRule::traverse},
    {"isSemver", "(string, bool) bool", is_semver, CostRule::traverse},
    {"isGreaterThan", ".(semver, semver) bool", greater},
    {"isLessThan", ".(semver, semver) bool", less},
    {"compareTo", ".(semver, semver) int", compare_to},
    {"major", ".(semver) int", number<0>},
    {"minor", ".(semver) int", number<1>},
    {"patch", ".(semver) int", number<2>},
};

}  // namespace

std::span<const FunctionRow> semver_functions() { return kRows; }

}  // namespace kcube::cel
