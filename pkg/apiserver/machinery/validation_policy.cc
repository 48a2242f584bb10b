// PodDisruptionBudgets, PriorityClasses, RuntimeClasses, Leases.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

constexpr int64_t kHighestPriority = 1000000000;

struct SystemClass {
  std::string_view name;
  int64_t value;
};
constexpr SystemClass kSystemClasses[] = {{"system-node-critical", 2000001000},
                                          {"system-cluster-critical", 2000000000}};

void validate_system_class(const Validation& v, const Cursor& name) {
  std::string problem = std::string(name.text()) + " is not a known system priority class";
  for (const SystemClass& known : kSystemClasses) {
    if (known.name != name.text()) continue;
    if (v["value"].number() != known.value)
      problem = "value of " + std::string(known.name) + " PriorityClass must be " + std::to_string(known.value);
    else if (v["globalDefault"].flag())
      problem = "globalDefault of " + std::string(known.name) + " PriorityClass must be false";
    else
      return;
  }
  name.forbidden("priority class names with 'system-' prefix are reserved for system use only. error: " + problem);
}

}  // namespace

void check_not_above_all(const Cursor& v) {
  if (v.is_text() && v.text().ends_with('%') && int_or_percent(v) > 100) v.invalid("must not be greater than 100%");
}

void validate_disruption_budget(const Validation& v) {
  if (!v.main()) {
    for (std::string_view count : {"disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"})
      v["status"][count].non_negative();
    return;
  }
  Cursor spec = v["spec"];
  if (spec["minAvailable"].present() && spec["maxUnavailable"].present())
    spec.invalid("minAvailable and maxUnavailable cannot be both set");
  for (std::string_view member : {"minAvailable", "maxUnavailable"}) {
    check_int_or_percent(spec[member]);
    check_not_above_all(spec[member]);
  }
  validate_label_selector(spec["selector"]);
  Cursor policy = spec["unhealthyPodEvictionPolicy"];
  if (policy.present() && !policy.in({"AlwaysAllow", "IfHealthyBudget"}))
    policy.not_supported({"AlwaysAllow", "IfHealthyBudget"});
}

void validate_priority_class(const Validation& v) {
  Cursor name = v["metadata"]["name"], value = v["value"], preemption = v["preemptionPolicy"];
  if (v.creating()) {
    if (name.text().starts_with("system-"))
      validate_system_class(v, name);
    else if (value.number() > kHighestPriority)
      value.forbidden("maximum allowed value of a user defined priority is 1000000000");
    preemption.one_of_if_set({"PreemptLowerPriority", "Never"});
    return;
  }
  if (value.number() != json::get_int(v.before({"value"}))) value.forbidden("may not be changed in an update.");
  preemption.unchanged(v.before({"preemptionPolicy"}));
}

void validate_runtime_class(const Validation& v) {
  Cursor handler = v["handler"];
  if (handler.empty()) handler.required();
  else handler.check(api::check_dns1123_label(handler.text()));
  if (Cursor overhead = v["overhead"]["podFixed"]; overhead.present()) {
    json::value as_limits(json::object{{"limits", *overhead.value()}});
    validate_resources(v["overhead"].with(&as_limits), nullptr);
  }
  validate_labels(v["scheduling"]["nodeSelector"]);
  const std::vector<Cursor> tolerations = v["scheduling"]["tolerations"].items();
  validate_tolerations(v["scheduling"]["tolerations"]);
  for (size_t i = 0; i < tolerations.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      if (*tolerations[k].value() == *tolerations[i].value()) {
        tolerations[i].duplicate();
        break;
      }
  if (!v.creating()) handler.unchanged(v.before({"handler"}));
}

void validate_lease(const Validation& v) {
  Cursor spec = v["spec"];
  if (Cursor duration = spec["leaseDurationSeconds"]; duration.present() && duration.number() <= 0)
    duration.invalid("must be greater than 0");
  spec["leaseTransitions"].non_negative();
  if (!spec["preferredHolder"].empty() && spec["strategy"].empty())
    spec["preferredHolder"].forbidden("may only be specified if `strategy` is defined");
}

}  // namespace kcube::machinery
