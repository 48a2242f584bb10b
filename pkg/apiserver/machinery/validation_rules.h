// The rules of each resource: one function a resource, listed in validation.cc. Private to machinery.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/apiserver/machinery/validation_cursor.h"

namespace kcube::machinery {

// One object under examination. Rules add to `causes`.
struct Validation {
  std::string_view subresource;  // of the request; "" is the resource itself
  const json::value& object;
  const json::value* old;  // null: a creation
  std::vector<Cause>& causes;
  std::string_view requested_group = {};  // the API group of the request, which may be another than that of the object

  void add(Cause cause) const { causes.push_back(std::move(cause)); }
  Cursor root() const { return {&object, "", causes}; }
  Cursor operator[](std::string_view member) const { return root()[member]; }
  // What `old` has at a path; null without one.
  const json::value* before(std::initializer_list<std::string_view> path) const {
    return old == nullptr ? nullptr : json::at(old, path);
  }
  bool creating() const { return old == nullptr; }
  bool main() const { return subresource.empty(); }
};
using Rule = void (*)(const Validation&);

// validation_pod*.cc
void validate_pod(const Validation& v);
void validate_pod_update(const Validation& v);
void validate_binding(const Validation& v);
// validation_workloads.cc
void validate_deployment(const Validation& v);
void validate_replica_set(const Validation& v);
void validate_replication_controller(const Validation& v);
void validate_stateful_set(const Validation& v);
void validate_daemon_set(const Validation& v);
void validate_controller_revision(const Validation& v);
// validation_batch.cc
void validate_job(const Validation& v);
void validate_cron_job(const Validation& v);
// validation_service.cc, validation_endpoints.cc
void validate_service(const Validation& v);
void validate_endpoints(const Validation& v);
void validate_endpoint_slice(const Validation& v);
// validation_storage.cc
void validate_persistent_volume(const Validation& v);
void validate_persistent_volume_claim(const Validation& v);
// validation_storage_classes.cc
void validate_storage_class(const Validation& v);
void validate_csi_driver(const Validation& v);
void validate_csi_node(const Validation& v);
void validate_volume_attachment(const Validation& v);
void validate_storage_capacity(const Validation& v);
void validate_volume_attributes_class(const Validation& v);
// validation_network.cc
void validate_ingress(const Validation& v);
void validate_ingress_class(const Validation& v);
void validate_network_policy(const Validation& v);
void validate_service_cidr(const Validation& v);
void validate_ip_address(const Validation& v);
// validation_rbac.cc
void validate_role(const Validation& v);
void validate_cluster_role(const Validation& v);
void validate_role_binding(const Validation& v);
void validate_cluster_role_binding(const Validation& v);
// validation_policy.cc, validation_quota.cc, validation_autoscaling.cc, validation_certificates.cc
void validate_disruption_budget(const Validation& v);
void validate_priority_class(const Validation& v);
void validate_runtime_class(const Validation& v);
void validate_lease(const Validation& v);
void validate_limit_range(const Validation& v);
void validate_resource_quota(const Validation& v);
void validate_autoscaler(const Validation& v);
void validate_signing_request(const Validation& v);
// validation_core.cc
void validate_namespace(const Validation& v);
void validate_node(const Validation& v);
void validate_pod_template_object(const Validation& v);
// validation_events.cc
void validate_event(const Validation& v);
// validation_flowcontrol.cc, validation_devices.cc
void validate_flow_schema(const Validation& v);
void validate_priority_level(const Validation& v);
void validate_resource_claim(const Validation& v);
void validate_resource_claim_template(const Validation& v);
void validate_device_class(const Validation& v);
void validate_resource_slice(const Validation& v);
// validation_admission.cc, validation_extensions.cc
void validate_validating_webhooks(const Validation& v);
void validate_mutating_webhooks(const Validation& v);
void validate_admission_policy(const Validation& v);
void validate_admission_policy_binding(const Validation& v);
void validate_mutating_policy(const Validation& v);
void validate_mutating_policy_binding(const Validation& v);
void validate_custom_resource_definition(const Validation& v);
void validate_api_service(const Validation& v);
// validation_config.cc
void validate_config_map(const Validation& v);
void validate_secret(const Validation& v);

// Of several topics.
void validate_claim_spec(const Cursor& spec);
void validate_csi_driver_name(const Cursor& name);
// What is wrong with a schedule, or nothing.
std::string check_cron_schedule(std::string_view text);
bool known_time_zone(std::string_view name);
// A number, or a text like "25%"; of those the percentage.
int64_t int_or_percent(const Cursor& v);
void check_int_or_percent(const Cursor& v);
void check_not_above_all(const Cursor& v);           // at most 100%
void validate_webhook_client(const Cursor& client);  // clientConfig: a url or a service

}  // namespace kcube::machinery
