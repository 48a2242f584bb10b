// PodResizeValidator: a running pod is not made larger than its node. Source: KEP-1287; messages of kube-apiserver.
#include "pkg/api/errors.h"
#include "pkg/api/quota.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

std::unexpected<Status> refuse(const Admission& a, std::string_view message, std::string_view type) {
  Status status = a.forbid(message).error();
  status.details().causes.push_back({std::string(type), "", ""});
  return fail(std::move(status));
}

Result<void> check(Admission& a) {
  if (!a.is("", "pods", "resize") || a.operation != Operation::update || a.object == nullptr || a.old == nullptr) return {};
  std::string name(json::get_string(*a.object, {"spec", "nodeName"}));
  if (name.empty() || json::get_int(*a.old, {"metadata", "generation"}) == json::get_int(*a.object, {"metadata", "generation"})) return {};
  ObjectPtr node = a.core.get("", "nodes", "", name);
  if (!node) return a.forbid("node \"" + name + "\" not found");
  std::string_view os = node->label("kubernetes.io/os");
  if (!os.empty() && os != "linux") return refuse(a, "pod resize is only supported on linux nodes, node \"" + name + "\" is \"" + std::string(os) + "\"", "UnsupportedPlatform");
  auto usage = api::quota::pod_usage(*a.object);
  std::string text;
  auto compare = [&](const char* resource, auto number) {
    api::Quantity asked = usage[resource], there = api::Quantity::from_json(json::at(&node->value(), {"status", "allocatable", resource}));
    if (there < asked) text += (text.empty() ? "" : "; ") + (std::string(resource) + ", requested: " + std::to_string(number(asked)) + ", allocatable: " + std::to_string(number(there)));
  };
  compare("cpu", [](const api::Quantity& q) { return q.milli_value(); });
  compare("memory", [](const api::Quantity& q) { return q.value(); });
  if (text.empty()) return {};
  return refuse(a, "node didn't have enough allocatable resources: " + text, "NodeCapacity");
}

}  // namespace

const AdmissionPlugin kPodResizeValidator{"PodResizeValidator", nullptr, check};

}  // namespace kcube::apiserver
