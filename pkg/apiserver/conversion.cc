#include "pkg/apiserver/conversion.h"

#include <utility>

namespace kcube::apiserver {
namespace {

// Annotation under which autoscaling/v1 carries what only v2 has fields for.
constexpr std::string_view kMetrics = "autoscaling.alpha.kubernetes.io/metrics";
constexpr std::string_view kBehavior = "autoscaling.alpha.kubernetes.io/behavior";
constexpr std::string_view kConditions = "autoscaling.alpha.kubernetes.io/conditions";
constexpr std::string_view kCurrentMetrics = "autoscaling.alpha.kubernetes.io/current-metrics";

void rename(json::object& object, std::string_view from, std::string_view to) {
  json::value* member = object.if_contains(json::key(from));
  if (member == nullptr) return;
  json::value moved = std::move(*member);
  object.erase(json::key(from));
  object[json::key(to)] = std::move(moved);
}

struct Name {
  std::string_view core, events;
};
constexpr Name kEventNames[] = {
    {"involvedObject", "regarding"},         {"message", "note"},
    {"source", "deprecatedSource"},          {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"}, {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

void convert_event(json::object& event, bool to_core) {
  for (const Name& n : kEventNames) rename(event, to_core ? n.events : n.core, to_core ? n.core : n.events);
}

bool is_cpu_utilization(const json::value& metric, std::string_view value_path) {
  return json::get_string(metric, {"type"}) == "Resource" && json::get_string(metric, {"resource", "name"}) == "cpu" &&
         json::at(&metric, {"resource", value_path, "averageUtilization"}) != nullptr;
}

// Moves the members of `list` that v1 has no field for into an annotation, and returns the one it has.
int64_t take_cpu(json::object& object, json::object& holder, std::string_view list, std::string_view value_path, std::string_view annotation) {
  json::value* metrics = holder.if_contains(json::key(list));
  if (metrics == nullptr || !metrics->is_array()) {
    holder.erase(json::key(list));
    return -1;
  }
  int64_t cpu = -1;
  json::array others;
  for (json::value& metric : metrics->get_array()) {
    if (cpu < 0 && is_cpu_utilization(metric, value_path)) cpu = json::get_int(metric, {"resource", value_path, "averageUtilization"});
    else others.push_back(std::move(metric));
  }
  holder.erase(json::key(list));
  if (!others.empty()) {
    auto& annotations = json::ensure_object(json::ensure_object(object, "metadata"), "annotations");
    annotations[json::key(annotation)] = json::serialize(json::value(std::move(others)));
  }
  return cpu;
}

void move_to_annotation(json::object& object, json::object& holder, std::string_view member, std::string_view annotation) {
  const json::value* value = holder.if_contains(json::key(member));
  if (value == nullptr) return;
  auto& annotations = json::ensure_object(json::ensure_object(object, "metadata"), "annotations");
  annotations[json::key(annotation)] = json::serialize(*value);
  holder.erase(json::key(member));
}

// The value of an annotation, removed from it; null when there is none or it is no JSON.
json::value take_annotation(json::object& object, std::string_view annotation) {
  json::value* annotations = json::find(object.if_contains("metadata"), "annotations");
  const json::value* text = json::find(annotations, annotation);
  if (text == nullptr) return nullptr;
  auto parsed = json::parse(json::get_string(text));
  annotations->get_object().erase(json::key(annotation));
  return parsed ? std::move(*parsed) : json::value(nullptr);
}

void autoscaler_to_v1(json::object& object) {
  auto& spec = json::ensure_object(object, "spec");
  auto& status = json::ensure_object(object, "status");
  int64_t cpu = take_cpu(object, spec, "metrics", "target", kMetrics);
  if (cpu >= 0) spec["targetCPUUtilizationPercentage"] = cpu;
  move_to_annotation(object, spec, "behavior", kBehavior);
  if (!status.contains("currentReplicas")) status["currentReplicas"] = 0;
  int64_t current = take_cpu(object, status, "currentMetrics", "current", kCurrentMetrics);
  if (current >= 0) status["currentCPUUtilizationPercentage"] = current;
  move_to_annotation(object, status, "conditions", kConditions);
}

json::object cpu_metric(std::string_view value_path, int64_t utilization) {
  json::object value{{"averageUtilization", utilization}};
  if (value_path == "target") value["type"] = "Utilization";
  return {{"type", "Resource"}, {"resource", json::object{{"name", "cpu"}, {json::key(value_path), std::move(value)}}}};
}

void autoscaler_to_v2(json::object& object) {
  auto& spec = json::ensure_object(object, "spec");
  auto& status = json::ensure_object(object, "status");
  json::array metrics;
  if (const json::value* cpu = spec.if_contains("targetCPUUtilizationPercentage")) metrics.push_back(cpu_metric("target", json::get_int(cpu)));
  spec.erase("targetCPUUtilizationPercentage");
  if (json::value others = take_annotation(object, kMetrics); others.is_array())
    for (json::value& metric : others.get_array()) metrics.push_back(std::move(metric));
  if (!metrics.empty()) spec["metrics"] = std::move(metrics);
  if (json::value behavior = take_annotation(object, kBehavior); behavior.is_object()) spec["behavior"] = std::move(behavior);
  json::array current;
  if (const json::value* cpu = status.if_contains("currentCPUUtilizationPercentage")) current.push_back(cpu_metric("current", json::get_int(cpu)));
  status.erase("currentCPUUtilizationPercentage");
  if (json::value others = take_annotation(object, kCurrentMetrics); others.is_array())
    for (json::value& metric : others.get_array()) current.push_back(std::move(metric));
  if (json::get_int(status.if_contains("currentReplicas")) == 0) status.erase("currentReplicas");
  if (current.empty()) status["currentMetrics"] = nullptr;
  else status["currentMetrics"] = std::move(current);
  if (json::value conditions = take_annotation(object, kConditions); conditions.is_array()) status["conditions"] = std::move(conditions);
}

}  // namespace

const api::ResourceInfo* storage_version(const api::Schema& schema, const api::ResourceInfo& served) {
  if (served.group == "events.k8s.io") return schema.find_resource("", "v1", "events");
  if (served.group == "autoscaling" && served.version == "v1") return schema.find_resource("autoscaling", "v2", served.resource);
  return &served;
}

void convert(json::value& object, const api::ResourceInfo& from, const api::ResourceInfo& to) {
  if (&from == &to || (from.group == to.group && from.version == to.version) || !object.is_object()) return;
  json::object& o = object.get_object();
  if (from.resource == "events") convert_event(o, to.group.empty());
  else if (to.version == "v1") autoscaler_to_v1(o);
  else autoscaler_to_v2(o);
  o["apiVersion"] = to.api_version();
}

}  // namespace kcube::apiserver
