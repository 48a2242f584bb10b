#include "pkg/apiserver/machinery/validation.h"

#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

struct Entry {
  std::string_view group, resource;
  Rule rule;
};
// One row a resource; the rules are in validation_<topic>.cc.
constexpr Entry kRules[] = {
    {"", "configmaps", validate_config_map},
    {"", "endpoints", validate_endpoints},
    {"", "events", validate_event},
    {"", "limitranges", validate_limit_range},
    {"", "namespaces", validate_namespace},
    {"", "nodes", validate_node},
    {"", "persistentvolumeclaims", validate_persistent_volume_claim},
    {"", "persistentvolumes", validate_persistent_volume},
    {"", "pods", validate_pod},
    {"", "podtemplates", validate_pod_template_object},
    {"", "replicationcontrollers", validate_replication_controller},
    {"", "resourcequotas", validate_resource_quota},
    {"", "secrets", validate_secret},
    {"", "services", validate_service},
    {"admissionregistration.k8s.io", "mutatingadmissionpolicies", validate_mutating_policy},
    {"admissionregistration.k8s.io", "mutatingadmissionpolicybindings", validate_mutating_policy_binding},
    {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", validate_mutating_webhooks},
    {"admissionregistration.k8s.io", "validatingadmissionpolicies", validate_admission_policy},
    {"admissionregistration.k8s.io", "validatingadmissionpolicybindings", validate_admission_policy_binding},
    {"admissionregistration.k8s.io", "validatingwebhookconfigurations", validate_validating_webhooks},
    {"apiextensions.k8s.io", "customresourcedefinitions", validate_custom_resource_definition},
    {"apiregistration.k8s.io", "apiservices", validate_api_service},
    {"apps", "controllerrevisions", validate_controller_revision},
    {"apps", "daemonsets", validate_daemon_set},
    {"apps", "deployments", validate_deployment},
    {"apps", "replicasets", validate_replica_set},
    {"apps", "statefulsets", validate_stateful_set},
    {"autoscaling", "horizontalpodautoscalers", validate_autoscaler},
    {"batch", "cronjobs", validate_cron_job},
    {"batch", "jobs", validate_job},
    {"certificates.k8s.io", "certificatesigningrequests", validate_signing_request},
    {"coordination.k8s.io", "leases", validate_lease},
    {"discovery.k8s.io", "endpointslices", validate_endpoint_slice},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", validate_flow_schema},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", validate_priority_level},
    {"networking.k8s.io", "ingressclasses", validate_ingress_class},
    {"networking.k8s.io", "ingresses", validate_ingress},
    {"networking.k8s.io", "ipaddresses", validate_ip_address},
    {"networking.k8s.io", "networkpolicies", validate_network_policy},
    {"networking.k8s.io", "servicecidrs", validate_service_cidr},
    {"node.k8s.io", "runtimeclasses", validate_runtime_class},
    {"policy", "poddisruptionbudgets", validate_disruption_budget},
    {"rbac.authorization.k8s.io", "clusterrolebindings", validate_cluster_role_binding},
    {"rbac.authorization.k8s.io", "clusterroles", validate_cluster_role},
    {"rbac.authorization.k8s.io", "rolebindings", validate_role_binding},
    {"rbac.authorization.k8s.io", "roles", validate_role},
    {"resource.k8s.io", "deviceclasses", validate_device_class},
    {"resource.k8s.io", "resourceslices", validate_resource_slice},
    {"resource.k8s.io", "resourceclaims", validate_resource_claim},
    {"resource.k8s.io", "resourceclaimtemplates", validate_resource_claim_template},
    {"scheduling.k8s.io", "priorityclasses", validate_priority_class},
    {"storage.k8s.io", "csidrivers", validate_csi_driver},
    {"storage.k8s.io", "csinodes", validate_csi_node},
    {"storage.k8s.io", "csistoragecapacities", validate_storage_capacity},
    {"storage.k8s.io", "storageclasses", validate_storage_class},
    {"storage.k8s.io", "volumeattachments", validate_volume_attachment},
    {"storage.k8s.io", "volumeattributesclasses", validate_volume_attributes_class},
};

}  // namespace

std::vector<Cause> validate(const api::ResourceInfo& resource, const json::value& object, const json::value* old,
                            const api::ResourceInfo& requested) {
  std::vector<Cause> causes;
  for (const Entry& entry : kRules)
    if (entry.group == resource.group && entry.resource == resource.resource)
      entry.rule({resource.subresource, object, old, causes, requested.group});
  return causes;
}

}  // namespace kcube::machinery
