// RuntimeClass: a pod that names a class is given what the class costs and where it may run; one that names none that
// exists is refused. Source: KEP-585 and KEP-688.
#include <algorithm>

#include "pkg/api/quantity.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

bool same_amounts(const json::value* a, const json::value* b) {
  const json::object &x = json::get_object(a), &y = json::get_object(b);
  if (x.size() != y.size()) return false;
  for (const auto& m : x) {
    const json::value* other = y.if_contains(m.key());
    if (other == nullptr || api::Quantity::from_json(&m.value()) != api::Quantity::from_json(other)) return false;
  }
  return true;
}

Result<void> merge_scheduling(Admission& a, json::object& spec, const json::value& scheduling) {
  json::object merged = json::get_object(json::find(&scheduling, "nodeSelector"));
  for (const auto& m : json::get_object(spec.if_contains("nodeSelector"))) {
    const json::value* wanted = merged.if_contains(m.key());
    if (wanted != nullptr && *wanted != m.value()) {
      std::string key(m.key());
      return a.forbid("conflict: runtimeClass.scheduling.nodeSelector[" + key + "] = " + std::string(json::get_string(wanted)) + "; pod.spec.nodeSelector[" + key +
                      "] = " + std::string(json::get_string(&m.value())));
    }
    merged[m.key()] = m.value();
  }
  if (!merged.empty()) spec["nodeSelector"] = std::move(merged);
  for (const json::value& toleration : json::get_array(json::find(&scheduling, "tolerations"))) {
    json::array& own = json::ensure_array(spec, "tolerations");
    if (std::ranges::find(own, toleration) == own.end()) own.push_back(toleration);
  }
  return {};
}

Result<void> set_overhead(Admission& a, json::object& spec, const json::value* cost) {
  const json::value* asked = spec.if_contains("overhead");
  bool asks = !json::get_object(asked).empty();
  if (cost == nullptr) return asks ? a.forbid("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead") : Result<void>();
  if (asks && !same_amounts(asked, cost)) return a.forbid("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
  spec["overhead"] = *cost;
  return {};
}

Result<void> apply_class(Admission& a) {
  if (!a.is("", "pods") || a.operation != Operation::create) return {};
  json::object& spec = json::ensure_object(a.object->get_object(), "spec");
  std::string name(json::get_string(spec.if_contains("runtimeClassName")));
  if (name.empty()) return set_overhead(a, spec, nullptr);
  ObjectPtr chosen = a.core.get("node.k8s.io", "runtimeclasses", "", name);
  if (!chosen) return a.forbid("pod rejected: RuntimeClass \"" + name + "\" not found");
  if (auto done = set_overhead(a, spec, json::at(&chosen->value(), {"overhead", "podFixed"})); !done) return done;
  const json::value* scheduling = json::find(&chosen->value(), "scheduling");
  return scheduling == nullptr ? Result<void>() : merge_scheduling(a, spec, *scheduling);
}

}  // namespace

const AdmissionPlugin kRuntimeClass{"RuntimeClass", apply_class, nullptr};

}  // namespace kcube::apiserver
