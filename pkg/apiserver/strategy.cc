#include "pkg/apiserver/strategy.h"

#include <algorithm>

namespace kcube::apiserver {
namespace {

constexpr Strategy kPlain{};
constexpr Strategy kWithStatus{.has_status = true, .has_generation = true};
constexpr Strategy kStatusOnly{.has_status = true};
constexpr Strategy kGeneration{.has_generation = true};
constexpr Strategy kDeployment{.has_status = true, .has_generation = true, .labels_by_status = false, .generation_by_annotations = true};
constexpr Strategy kEndpointSlice{.has_generation = true, .generation_by_labels = true};
// metadata is none of the status's business.
constexpr Strategy kStatusAlone{.has_status = true, .metadata_by_status = false};
constexpr Strategy kStatusAloneAndGeneration{.has_status = true, .has_generation = true, .metadata_by_status = false};
constexpr Strategy kVolumeAttachment{.has_status = true, .metadata_by_status = false, .returns_deleted = true};
constexpr Strategy kDevices{.has_generation = true, .returns_deleted = true};
constexpr Strategy kWorkload{.has_status = true, .has_generation = true};
constexpr Strategy kReplicationController{.has_status = true, .has_generation = true, .orphans_by_default = true};
constexpr Strategy kReturnsDeleted{.returns_deleted = true};
constexpr Strategy kPodTemplate{.has_generation = true, .returns_deleted = true};
constexpr Strategy kQuota{.has_status = true, .returns_deleted = true};
constexpr Strategy kCreatesOnUpdate{.creates_on_update = true};
constexpr Strategy kIpAddress{.extends_names = false};   // no address with an end of letters is one

struct Row {
  std::string_view group, resource;
  const Strategy* strategy;
};
constexpr Row kRows[] = {
    {"", "pods", &kPodStrategy},
    {"", "services", &kServiceStrategy},
    {"", "namespaces", &kNamespaceStrategy},
    {"", "nodes", &kNodeStrategy},
    {"", "secrets", &kSecretStrategy},
    {"", "events", &kEventStrategy},
    {"", "endpoints", &kCreatesOnUpdate},
    {"", "limitranges", &kLimitRangeStrategy},
    {"", "podtemplates", &kPodTemplate},
    {"", "serviceaccounts", &kReturnsDeleted},
    {"", "resourcequotas", &kQuota},
    {"", "replicationcontrollers", &kReplicationController},
    {"", "persistentvolumes", &kPersistentVolumeStrategy},
    {"", "persistentvolumeclaims", &kPersistentVolumeClaimStrategy},
    {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", &kGeneration},
    {"admissionregistration.k8s.io", "validatingwebhookconfigurations", &kGeneration},
    {"admissionregistration.k8s.io", "validatingadmissionpolicies", &kStatusAloneAndGeneration},
    {"admissionregistration.k8s.io", "validatingadmissionpolicybindings", &kGeneration},
    {"admissionregistration.k8s.io", "mutatingadmissionpolicies", &kGeneration},
    {"admissionregistration.k8s.io", "mutatingadmissionpolicybindings", &kGeneration},
    {"apiextensions.k8s.io", "customresourcedefinitions", &kCrdStrategy},
    {"apiregistration.k8s.io", "apiservices", &kApiServiceStrategy},
    {"apps", "deployments", &kDeployment},
    {"apps", "replicasets", &kWorkload},
    {"apps", "statefulsets", &kWorkload},
    {"apps", "daemonsets", &kDaemonSetStrategy},
    {"autoscaling", "horizontalpodautoscalers", &kStatusOnly},
    {"batch", "jobs", &kJobStrategy},
    {"batch", "cronjobs", &kWorkload},
    {"certificates.k8s.io", "certificatesigningrequests", &kCsrStrategy},
    {"coordination.k8s.io", "leases", &kCreatesOnUpdate},
    {"discovery.k8s.io", "endpointslices", &kEndpointSlice},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", &kStatusAloneAndGeneration},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", &kStatusAloneAndGeneration},
    {"networking.k8s.io", "ingresses", &kIngressStrategy},
    {"networking.k8s.io", "ingressclasses", &kGeneration},
    {"networking.k8s.io", "ipaddresses", &kIpAddress},
    {"networking.k8s.io", "networkpolicies", &kGeneration},
    {"networking.k8s.io", "servicecidrs", &kStatusAlone},
    {"policy", "poddisruptionbudgets", &kWithStatus},
    {"rbac.authorization.k8s.io", "roles", &kRoleStrategy},
    {"rbac.authorization.k8s.io", "rolebindings", &kRoleBindingStrategy},
    {"rbac.authorization.k8s.io", "clusterroles", &kRoleStrategy},
    {"rbac.authorization.k8s.io", "clusterrolebindings", &kRoleBindingStrategy},
    {"resource.k8s.io", "resourceclaims", &kResourceClaimStrategy},
    {"resource.k8s.io", "resourceclaimtemplates", &kResourceClaimTemplateStrategy},
    {"resource.k8s.io", "deviceclasses", &kDevices},
    {"resource.k8s.io", "resourceslices", &kDevices},
    {"scheduling.k8s.io", "priorityclasses", &kGeneration},
    {"storage.k8s.io", "storageclasses", &kReturnsDeleted},
    {"storage.k8s.io", "csidrivers", &kReturnsDeleted},
    {"storage.k8s.io", "csinodes", &kReturnsDeleted},
    {"storage.k8s.io", "volumeattributesclasses", &kReturnsDeleted},
    {"storage.k8s.io", "volumeattachments", &kVolumeAttachment},
    {"node.k8s.io", "runtimeclasses", &kCreatesOnUpdate},
};

}  // namespace

const Strategy& strategy_of(const api::ResourceInfo& stored) {
  for (const Row& row : kRows)
    if (row.group == stored.group && row.resource == stored.resource) return *row.strategy;
  return kPlain;
}

bool needs_version(const api::ResourceInfo& stored) {
  constexpr std::string_view kResources[] = {
      "apiservices", "poddisruptionbudgets", "csidrivers", "csinodes", "csistoragecapacities", "volumeattachments", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
      "mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations", "leases",
      "runtimeclasses"};
  return std::ranges::find(kResources, stored.resource) != std::end(kResources) && !stored.group.empty();
}

void keep_member(json::object& object, const json::object& old, std::string_view name) {
  const json::value* before = old.if_contains(json::key(name));
  if (before != nullptr) object[json::key(name)] = *before;
  else object.erase(json::key(name));
}

}  // namespace kcube::apiserver
