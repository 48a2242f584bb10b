#include "pkg/controllers/node_affinity.h"

#include <algorithm>

#include "pkg/base/strings.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

bool holds(const json::value& requirement, bool present, std::string_view actual) {
  std::string_view op = json::get_string(requirement, {"operator"});
  const json::array& values = json::get_array(json::find(&requirement, "values"));
  bool in = present && std::ranges::any_of(values, [&](const json::value& v) { return json::get_string(&v) == actual; });
  if (op == "In") return in;
  if (op == "NotIn") return !in;
  if (op == "Exists") return present;
  if (op == "DoesNotExist") return !present;
  if (op != "Gt" && op != "Lt") return false;
  auto a = parse_int<int64_t>(actual), b = parse_int<int64_t>(values.empty() ? std::string_view() : json::get_string(&values.front()));
  return present && a && b && (op == "Gt" ? *a > *b : *a < *b);
}

bool term_matches(const json::value& term, const api::Object& node) {
  const json::array &expressions = json::get_array(json::find(&term, "matchExpressions")), &fields = json::get_array(json::find(&term, "matchFields"));
  if (expressions.empty() && fields.empty()) return false;
  for (const json::value& e : expressions) {
    std::string key = string_at(e, {"key"});
    bool present = std::ranges::any_of(node.labels(), [&](const auto& l) { return l.first == key; });
    if (!holds(e, present, node.label(key))) return false;
  }
  return std::ranges::all_of(fields, [&](const json::value& f) { return json::get_string(f, {"key"}) == "metadata.name" && holds(f, true, node.name()); });
}

}  // namespace

bool node_selector_matches(const json::value& selector, const api::Object& node) {
  const json::array& terms = json::get_array(json::find(&selector, "nodeSelectorTerms"));
  return std::ranges::any_of(terms, [&](const json::value& t) { return term_matches(t, node); });
}

bool node_selected(const json::value& pod_spec, const api::Object& node) {
  for (const auto& m : json::get_object(json::find(&pod_spec, "nodeSelector"))) {
    std::string_view key = json::view(m.key());
    bool present = std::ranges::any_of(node.labels(), [&](const auto& l) { return l.first == key; });
    if (!present || node.label(key) != json::get_string(&m.value())) return false;
  }
  const json::value* required = json::at(&pod_spec, {"affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"});
  return required == nullptr || required->is_null() || node_selector_matches(*required, node);
}

}  // namespace kcube::controllers
