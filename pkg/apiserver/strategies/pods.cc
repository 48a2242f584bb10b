// Pods: quality of service, ephemeral containers, resize, and deletion with grace.
#include <algorithm>
#include <set>

#include "pkg/api/errors.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {
namespace {

// One of cpu and memory of one container, in the smallest unit; -1 when not set.
struct Amount {
  int64_t request = -1, limit = -1;
};

int64_t amount(const json::value* container, std::string_view which, std::string_view resource) {
  const json::value* v = json::at(container, {"resources", which, resource});
  if (v == nullptr) return -1;
  auto q = api::Quantity::parse(json::get_string(v));
  return q ? q->milli_value() : -1;
}

// Source: the Kubernetes docs on quality of service classes.
std::string_view qos_class(const json::object& pod) {
  bool any = false, guaranteed = true;
  const json::value* spec = pod.if_contains("spec");
  for (std::string_view list : {"containers", "initContainers"}) {
    for (const json::value& container : json::get_array(json::find(spec, list))) {
      for (std::string_view resource : {"cpu", "memory"}) {
        Amount a{amount(&container, "requests", resource), amount(&container, "limits", resource)};
        any |= a.request > 0 || a.limit > 0;
        guaranteed &= a.limit > 0 && (a.request < 0 || a.request == a.limit);
      }
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

Result<void> prepare_create(json::object& pod, Write& write) {
  json::object status{{"phase", "Pending"}, {"qosClass", json::key(qos_class(pod))}};
  if (!json::get_array(json::find(pod.if_contains("spec"), "schedulingGates")).empty())
    status["conditions"] = json::array{json::object{{"type", "PodScheduled"}, {"status", "False"}, {"lastProbeTime", nullptr}, {"lastTransitionTime", format_time(write.core.clock.now())}, {"reason", "SchedulingGated"}, {"message", "Scheduling is blocked due to non-empty scheduling gates"}}};
  pod["status"] = std::move(status);
  return {};
}

void take_resources(json::object& spec, const json::value& fresh, std::string_view list) {
  json::value* ours = spec.if_contains(json::key(list));
  if (ours == nullptr || !ours->is_array()) return;
  for (json::value& container : ours->get_array()) {
    for (const json::value& other : json::get_array(json::find(json::find(&fresh, "spec"), list))) {
      if (json::get_string(other, {"name"}) != json::get_string(container, {"name"})) continue;
      for (const char* member : {"resources", "resizePolicy"})
        if (const json::value* v = json::find(&other, member)) container.get_object()[member] = *v;
    }
  }
}

Result<void> prepare_subresource(json::object& pod, const json::object& old, Write& write) {
  std::string_view sub = write.call.resource->subresource();
  json::value fresh(std::move(pod));
  pod = old;
  json::object& spec = json::ensure_object(pod, "spec");
  if (const json::value* version = json::at(&fresh, {"metadata", "resourceVersion"})) json::ensure_object(pod, "metadata")["resourceVersion"] = *version;
  if (sub == "ephemeralcontainers") {
    if (const json::value* list = json::at(&fresh, {"spec", "ephemeralContainers"})) spec["ephemeralContainers"] = *list;
  } else if (sub == "resize") {
    take_resources(spec, fresh, "containers");
    take_resources(spec, fresh, "initContainers");
  } else {
    pod = std::move(fresh.get_object());
  }
  return {};
}

int64_t grace(const json::object& pod, int64_t asked) {
  const json::value* spec = pod.if_contains("spec");
  int64_t seconds = asked >= 0 ? asked : json::get_int(json::find(spec, "terminationGracePeriodSeconds"), 30);
  // Nothing runs: not bound to a node yet, or finished.
  std::string_view phase = json::get_string(json::find(pod.if_contains("status"), "phase"));
  if (json::get_string(json::find(spec, "nodeName")).empty() || phase == "Succeeded" || phase == "Failed") return 0;
  // A negative grace of the spec means one second.
  if (asked < 0 && seconds < 0) return 1;
  return seconds;
}

}  // namespace

const Strategy kPodStrategy{.has_status = true,
                            .has_generation = true,
                            .returns_deleted = true,
                            .prepare_create = prepare_create,
                            .prepare_subresource = prepare_subresource,
                            .grace = grace};

}  // namespace kcube::apiserver
