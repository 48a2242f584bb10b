// semver(): versions of three numbers with pre-release and build (semver.org 2.0.0).
#include <algorithm>

#include "pkg/base/semver.h"
#include "pkg/base/strings.h"
#include "pkg/cel/functions.h"

namespace kcube::cel {

const TypeRef& semver_type() {
  static const TypeRef type = Type::opaque("kubernetes.Semver");
  return type;
}

namespace {

class SemverValue final : public Opaque {
 public:
  explicit SemverValue(Semver version) : version(std::move(version)) {}
  const Type& type() const override { return *semver_type(); }
  bool equals(const Opaque& other) const override;
  const Semver version;
};

// "v1.02" is 1.2.0.
std::optional<Semver> normalize(std::string_view text, std::string& error) {
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
  return parse_semver(parts[0] + "." + parts[1] + "." + parts[2], error);
}

bool SemverValue::equals(const Opaque& other) const { return compare(version, static_cast<const SemverValue&>(other).version) == 0; }

const Semver& of(const Value& v) { return v.opaque_as<SemverValue>()->version; }

std::optional<Semver> read(Arguments a, std::string& error) {
  return a.size() == 2 && a[1].as_boolean() ? normalize(a[0].as_text(), error) : parse_semver(a[0].as_text(), error);
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
Value greater(Arguments a, const Node&) { return Value::boolean(compare(of(a[0]), of(a[1])) > 0); }
Value less(Arguments a, const Node&) { return Value::boolean(compare(of(a[0]), of(a[1])) < 0); }
Value compare_to(Arguments a, const Node&) { return Value::integer(compare(of(a[0]), of(a[1]))); }
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
