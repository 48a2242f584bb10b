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
    {"", "persistentvolumeclaims", validate_persistent_volume_claim},
    {"", "persistentvolumes", validate_persistent_volume},
    {"", "pods", validate_pod},
    {"", "replicationcontrollers", validate_replication_controller},
    {"", "services", validate_service},
    {"apps", "controllerrevisions", validate_controller_revision},
    {"apps", "daemonsets", validate_daemon_set},
    {"apps", "deployments", validate_deployment},
    {"apps", "replicasets", validate_replica_set},
    {"apps", "statefulsets", validate_stateful_set},
    {"batch", "cronjobs", validate_cron_job},
    {"batch", "jobs", validate_job},
    {"discovery.k8s.io", "endpointslices", validate_endpoint_slice},
};

}  // namespace

std::vector<Cause> validate(const api::ResourceInfo& resource, const json::value& object, const json::value* old) {
  std::vector<Cause> causes;
  for (const Entry& entry : kRules)
    if (entry.group == resource.group && entry.resource == resource.resource) entry.rule({resource.subresource, object, old, causes});
  return causes;
}

}  // namespace kcube::machinery
