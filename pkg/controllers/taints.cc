#include "pkg/controllers/taints.h"

#include <algorithm>

#include "pkg/base/strings.h"

namespace kcube::controllers {

bool tolerates(const json::value& toleration, const json::value& taint) {
  std::string_view effect = json::get_string(toleration, {"effect"}), key = json::get_string(toleration, {"key"}),
                   op = json::get_string(toleration, {"operator"}), value = json::get_string(toleration, {"value"}),
                   tainted = json::get_string(taint, {"value"});
  if (!effect.empty() && effect != json::get_string(taint, {"effect"})) return false;
  if (!key.empty() && key != json::get_string(taint, {"key"})) return false;
  if (op == "Exists") return true;
  if (op == "Gt" || op == "Lt") {
    auto a = parse_int<int64_t>(tainted), b = parse_int<int64_t>(value);
    return a && b && (op == "Gt" ? *a > *b : *a < *b);
  }
  return !key.empty() && value == tainted;
}

const json::value* untolerated(const json::array& taints, const json::array& tolerations, std::initializer_list<std::string_view> effects) {
  for (const json::value& taint : taints) {
    if (std::ranges::find(effects, json::get_string(taint, {"effect"})) == effects.end()) continue;
    if (std::ranges::none_of(tolerations, [&](const json::value& t) { return tolerates(t, taint); })) return &taint;
  }
  return nullptr;
}

}  // namespace kcube::controllers
