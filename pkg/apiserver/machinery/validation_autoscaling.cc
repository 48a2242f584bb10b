// HorizontalPodAutoscalers (autoscaling/v2).
#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

constexpr int64_t kMaxPeriod = 1800, kMaxWindow = 3600;

void check_segment(const Cursor& at) {
  if (at.empty())
    at.required();
  else
    at.check(api::check_path_segment(at.text()));
}

void validate_reference(const Cursor& ref, bool needs_group) {
  check_segment(ref["kind"]);
  check_segment(ref["name"]);
  Cursor version = ref["apiVersion"];
  size_t slashes = 0;
  for (char c : version.text()) slashes += c == '/';
  if (slashes == 0 && needs_group) version.invalid("apiVersion must specify API group");
  if (slashes > 1) version.invalid("unexpected GroupVersion string: " + std::string(version.text()));
}

void validate_target(const Cursor& target) {
  Cursor type = target["type"];
  if (type.empty())
    type.required("must specify a metric target type");
  if (!type.in({"Utilization", "Value", "AverageValue"}))
    type.invalid_text(type.text(), "must be either Utilization, Value, or AverageValue");
  for (std::string_view member : {"value", "averageValue"})
    if (target[member].present() && api::Quantity::from_json(target[member].value()) <= api::Quantity())
      target[member].invalid("must be positive");
  if (target["averageUtilization"].present() && target["averageUtilization"].number() < 1)
    target["averageUtilization"].invalid("must be greater than 0");
}

void validate_identifier(const Cursor& metric) {
  if (metric["name"].empty())
    metric["name"].required("must specify a metric name");
  else
    metric["name"].check(api::check_path_segment(metric["name"].text()));
  validate_label_selector(metric["selector"]);
}

void need_utilization_or_value(const Cursor& target) {
  if (!target["averageUtilization"].present() && !target["averageValue"].present())
    target["averageUtilization"].required("must set either a target raw value or a target utilization");
  if (target["averageUtilization"].present() && target["averageValue"].present())
    target["averageValue"].forbidden("may not set both a target raw value and a target utilization");
}

void validate_source(const Cursor& source, std::string_view kind) {
  Cursor target = source["target"];
  if (kind == "object") validate_reference(source["describedObject"], false);
  if (kind == "object" || kind == "external" || kind == "pods") validate_identifier(source["metric"]);
  if ((kind == "resource" || kind == "containerResource") && source["name"].empty())
    source["name"].required("must specify a resource name");
  if (kind == "containerResource") {
    if (source["container"].empty())
      source["container"].required("must specify a container");
    else
      source["container"].check(api::check_dns1123_label(source["container"].text()));
  }
  validate_target(target);
  bool value = target["value"].present(), average = target["averageValue"].present();
  if (kind == "object" && !value && !average)
    target["averageValue"].required("must set either a target value or averageValue");
  if (kind == "external" && !value && !average)
    target["averageValue"].required("must set either a target value for metric or a per-pod target");
  if (kind == "external" && value && average)
    target["value"].forbidden("may not set both a target value for metric and a per-pod target");
  if (kind == "pods" && !average) target["averageValue"].required("must specify a positive target averageValue");
  if (kind == "resource" || kind == "containerResource") need_utilization_or_value(target);
}

void validate_metric(const Cursor& metric) {
  struct Kind {
    std::string_view type, member;
  };
  static constexpr Kind kKinds[] = {{"Object", "object"},
                                    {"External", "external"},
                                    {"Pods", "pods"},
                                    {"Resource", "resource"},
                                    {"ContainerResource", "containerResource"}};
  Cursor type = metric["type"];
  if (type.empty()) type.required("must specify a metric source type");
  if (!type.in({"ContainerResource", "External", "Object", "Pods", "Resource"}))
    type.not_supported({"ContainerResource", "External", "Object", "Pods", "Resource"});
  size_t count = 0;
  for (const Kind& kind : kKinds)
    if (metric[kind.member].present() && ++count == 1) validate_source(metric[kind.member], kind.member);
  for (const Kind& kind : kKinds) {
    if (type.text() == kind.type && !metric[kind.member].present())
      metric[kind.member].required("must populate information for the given metric source");
    if (count != 1 && type.text() != kind.type && metric[kind.member].present())
      metric[kind.member].forbidden("must populate the given metric source only");
  }
}

void validate_rules(const Cursor& rules) {
  if (!rules.present()) return;
  Cursor window = rules["stabilizationWindowSeconds"];
  if (window.number() < 0) window.invalid("must be greater than or equal to zero");
  if (window.number() > kMaxWindow) window.invalid("must be less than or equal to 3600");
  Cursor select = rules["selectPolicy"];
  if (select.present() && !select.in({"Disabled", "Max", "Min"})) select.not_supported({"Disabled", "Max", "Min"});
  if (rules["policies"].empty()) rules["policies"].required("must specify at least one Policy");
  for (const Cursor& policy : rules["policies"].items()) {
    if (!policy["type"].in({"Percent", "Pods"})) policy["type"].not_supported({"Percent", "Pods"});
    policy["value"].positive();
    policy["periodSeconds"].positive();
    if (policy["periodSeconds"].number() > kMaxPeriod)
      policy["periodSeconds"].invalid("must be less than or equal to 1800");
  }
}

}  // namespace

void validate_autoscaler(const Validation& v) {
  if (!v.main()) {
    v["status"]["currentReplicas"].non_negative();
    v["status"]["desiredReplicas"].non_negative();
    return;
  }
  Cursor spec = v["spec"], least = spec["minReplicas"], most = spec["maxReplicas"];
  if (least.present() && least.number() < 1) least.invalid("must be greater than or equal to 1");
  if (most.number() == 0)
    most.required("must be set and greater than 0");
  else if (most.number() < 0)
    most.invalid("must be greater than or equal to 1");
  if (least.present() && most.number() < least.number())
    most.invalid(json::value(most.number()), "must be greater than or equal to `minReplicas`");
  validate_reference(spec["scaleTargetRef"], true);
  bool from_outside = false;
  for (const Cursor& metric : spec["metrics"].items()) {
    validate_metric(metric);
    from_outside = from_outside || metric["type"].in({"Object", "External"});
  }
  if (least.present() && least.number() == 0 && !from_outside)
    spec["metrics"].forbidden(
        "must specify at least one Object or External metric to support scaling to zero replicas");
  validate_rules(spec["behavior"]["scaleUp"]);
  validate_rules(spec["behavior"]["scaleDown"]);
}

}  // namespace kcube::machinery
