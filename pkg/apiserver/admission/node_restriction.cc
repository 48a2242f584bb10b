// NodeRestriction: a kubelet changes its own node, its own pods and nothing else.
#include <set>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kPrefix = "system:node:";
constexpr std::string_view kMirror = "kubernetes.io/config.mirror";

// Labels under our domains that a kubelet may set on its node.
bool label_allowed(std::string_view key) {
  size_t slash = key.find('/');
  if (slash == std::string_view::npos) return true;
  std::string_view domain = key.substr(0, slash);
  auto within = [&](std::string_view suffix) { return domain == suffix || domain.ends_with("." + std::string(suffix)); };
  if (!within("kubernetes.io") && !within("k8s.io")) return true;
  if (within("kubelet.kubernetes.io") || within("node.kubernetes.io")) return true;
  static const std::set<std::string_view> kKnown{"kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/os",
                                                 "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type",
                                                 "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
                                                 "topology.kubernetes.io/zone", "topology.kubernetes.io/region"};
  return kKnown.contains(key);
}

Result<void> check_node(Admission& a, std::string_view node) {
  if (a.operation == Operation::remove) return a.forbid("node \"" + std::string(node) + "\" is not allowed to delete nodes");
  if (a.call.name != node) return a.forbid("node \"" + std::string(node) + "\" is not allowed to modify node \"" + a.call.name + "\"");
  if (a.object == nullptr) return {};
  const json::object& before = json::get_object(json::at(a.old, {"metadata", "labels"}));
  for (const auto& m : json::get_object(json::at(a.object, {"metadata", "labels"}))) {
    const json::value* old = before.if_contains(m.key());
    if ((old != nullptr && *old == m.value()) || label_allowed(json::view(m.key()))) continue;
    return a.forbid("is not allowed to " + std::string(a.old == nullptr ? "set" : "modify") + " the following labels: " + std::string(m.key()));
  }
  if (a.old == nullptr) return {};
  const json::value* taints = json::at(a.object, {"spec", "taints"});
  const json::value* old_taints = json::at(a.old, {"spec", "taints"});
  bool same = taints == nullptr || old_taints == nullptr ? json::get_array(taints).empty() && json::get_array(old_taints).empty() : *taints == *old_taints;
  if (!same) return a.forbid("node \"" + std::string(node) + "\" is not allowed to modify taints");
  return {};
}

Result<void> check_pod(Admission& a, std::string_view node) {
  std::string name(node);
  if (a.operation == Operation::create && a.call.resource->subresource().empty()) {
    if (json::find(json::at(a.object, {"metadata", "annotations"}), kMirror) == nullptr)
      return a.forbid("pod does not have \"" + std::string(kMirror) + "\" annotation, node \"" + name + "\" can only create mirror pods");
    if (json::get_string(*a.object, {"spec", "nodeName"}) != node)
      return a.forbid("node \"" + name + "\" can only create pods with spec.nodeName set to itself");
    return {};
  }
  ObjectPtr pod = a.core.get("", "pods", a.call.ns, a.call.name);
  if (!pod || json::get_string(pod->value(), {"spec", "nodeName"}) == node) return {};
  return a.forbid("node \"" + name + "\" can only " + (a.operation == Operation::remove ? "delete" : "update status for") + " pods with spec.nodeName set to itself");
}

Result<void> check(Admission& a) {
  if (!a.call.user.in_group("system:nodes") || !a.call.user.name.starts_with(kPrefix)) return {};
  std::string_view node = std::string_view(a.call.user.name).substr(kPrefix.size());
  if (a.call.resource->is("", "nodes")) return check_node(a, node);
  if (a.call.resource->is("", "pods")) return check_pod(a, node);
  if (a.call.resource->is("coordination.k8s.io", "leases") && (a.call.ns != "kube-node-lease" || a.call.name != node))
    return a.forbid("can only access node lease with the same name as the requesting node");
  return {};
}

}  // namespace

const AdmissionPlugin kNodeRestriction{"NodeRestriction", nullptr, check};

}  // namespace kcube::apiserver
