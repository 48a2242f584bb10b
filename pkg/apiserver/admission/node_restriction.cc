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

// Those that the write adds, changes or removes and should not, in order.
std::string forbidden_labels(const Admission& a) {
  const json::object& before = json::get_object(json::at(a.old, {"metadata", "labels"}));
  const json::object& now = json::get_object(json::at(a.object, {"metadata", "labels"}));
  std::set<std::string> found;
  for (const auto& m : now) {
    const json::value* old = before.if_contains(m.key());
    if ((old == nullptr || *old != m.value()) && !label_allowed(json::view(m.key()))) found.emplace(m.key());
  }
  for (const auto& m : before)
    if (!now.contains(m.key()) && !label_allowed(json::view(m.key()))) found.emplace(m.key());
  std::string text;
  for (const std::string& label : found) text += (text.empty() ? "" : ", ") + label;
  return text;
}

Result<void> check_node(Admission& a, std::string_view node) {
  if (a.operation == Operation::remove) return a.forbid("node \"" + std::string(node) + "\" is not allowed to delete nodes");
  if (a.call.name != node) return a.forbid("node \"" + std::string(node) + "\" is not allowed to modify node \"" + a.call.name + "\"");
  if (a.object == nullptr) return {};
  if (std::string labels = forbidden_labels(a); !labels.empty())
    return a.forbid("node \"" + std::string(node) + "\" is not allowed to " + (a.old == nullptr ? "set the following labels: " : "modify labels: ") + labels);
  if (a.old == nullptr) return {};
  const json::value* taints = json::at(a.object, {"spec", "taints"});
  const json::value* old_taints = json::at(a.old, {"spec", "taints"});
  bool same = taints == nullptr || old_taints == nullptr ? json::get_array(taints).empty() && json::get_array(old_taints).empty() : *taints == *old_taints;
  if (!same) return a.forbid("node \"" + std::string(node) + "\" is not allowed to modify taints");
  return {};
}

// A mirror pod stands for a file on the node: the API gives it nothing.
std::string reference_of(const json::value& pod) {
  const json::value* spec = json::find(&pod, "spec");
  if (!json::get_string(json::find(spec, "serviceAccountName")).empty()) return "a service account";
  bool secrets = !json::get_array(json::find(spec, "imagePullSecrets")).empty(), maps = false, claims = false;
  for (const json::value& v : json::get_array(json::find(spec, "volumes"))) {
    secrets |= json::find(&v, "secret") != nullptr;
    maps |= json::find(&v, "configMap") != nullptr;
    claims |= json::find(&v, "persistentVolumeClaim") != nullptr;
  }
  for (const char* list : {"initContainers", "containers"}) {
    for (const json::value& c : json::get_array(json::find(spec, list))) {
      for (const json::value& e : json::get_array(json::find(&c, "env"))) {
        secrets |= json::at(&e, {"valueFrom", "secretKeyRef"}) != nullptr;
        maps |= json::at(&e, {"valueFrom", "configMapKeyRef"}) != nullptr;
      }
      for (const json::value& e : json::get_array(json::find(&c, "envFrom"))) {
        secrets |= json::find(&e, "secretRef") != nullptr;
        maps |= json::find(&e, "configMapRef") != nullptr;
      }
    }
  }
  if (secrets) return "secrets";
  if (maps) return "configmaps";
  if (claims) return "persistentvolumeclaims";
  return json::get_array(json::find(spec, "resourceClaims")).empty() ? "" : "resourceclaims";
}

// Tokens for pods that run on the node, and bound to them.
Result<void> check_token(Admission& a, std::string_view node) {
  const json::value* bound = json::at(a.object, {"spec", "boundObjectRef"});
  if (bound == nullptr || json::get_string(*bound, {"kind"}) != "Pod" || json::get_string(*bound, {"name"}).empty()) return a.forbid("node requested token not bound to a pod");
  if (json::get_string(*bound, {"uid"}).empty()) return a.forbid("node requested token with a pod binding without a uid");
  ObjectPtr pod = a.core.get("", "pods", a.call.ns, json::get_string(*bound, {"name"}));
  if (!pod) return fail(api::not_found("", "pods", json::get_string(*bound, {"name"})));
  if (json::get_string(*bound, {"uid"}) != pod->uid())
    return a.forbid("the UID in the bound object reference (" + std::string(json::get_string(*bound, {"uid"})) + ") does not match the UID in record. The object might have been deleted and then recreated");
  if (json::get_string(pod->value(), {"spec", "nodeName"}) != node) return a.forbid("node requested token bound to a pod scheduled on a different node");
  return {};
}

Result<void> check_pod(Admission& a, std::string_view node) {
  std::string name(node);
  if (a.operation == Operation::create && a.call.resource->subresource().empty()) {
    if (json::find(json::at(a.object, {"metadata", "annotations"}), kMirror) == nullptr)
      return a.forbid("pod does not have \"" + std::string(kMirror) + "\" annotation, node \"" + name + "\" can only create mirror pods");
    if (json::get_string(*a.object, {"spec", "nodeName"}) != node)
      return a.forbid("node \"" + name + "\" can only create pods with spec.nodeName set to itself");
    if (std::string what = reference_of(*a.object); !what.empty()) return a.forbid("node \"" + name + "\" can not create pods that reference " + what);
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
  if (a.call.resource->is("", "serviceaccounts") && a.call.resource->subresource() == "token") return check_token(a, node);
  if (a.call.resource->is("storage.k8s.io", "csinodes") && a.call.name != node) return a.forbid("can only access CSINode with the same name as the requesting node");
  if (a.call.resource->is("resource.k8s.io", "resourceslices")) {
    const json::value* slice = a.object != nullptr ? a.object : a.old;
    if (slice != nullptr && json::get_string(*slice, {"spec", "nodeName"}) != node)
      return a.forbid("can only " + std::string(a.operation == Operation::remove ? "delete" : "create") + " ResourceSlice with the same NodeName as the requesting node");
  }
  if (a.call.resource->is("coordination.k8s.io", "leases") && (a.call.ns != "kube-node-lease" || a.call.name != node))
    return a.forbid("can only access node lease with the same name as the requesting node");
  return {};
}

}  // namespace

const AdmissionPlugin kNodeRestriction{"NodeRestriction", nullptr, check};

}  // namespace kcube::apiserver
