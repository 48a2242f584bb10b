// One function for each controller of the set. Each class stays in its own file.
#pragma once

#include <memory>

#include "pkg/controllers/controller.h"
#include "pkg/controllers/set.h"

namespace kcube::controllers {

using ControllerPtr = std::unique_ptr<Controller>;

ControllerPtr make_replica_set_controller(Context context);
ControllerPtr make_replication_controller(Context context);
ControllerPtr make_deployment_controller(Context context);
ControllerPtr make_daemon_set_controller(Context context);
ControllerPtr make_stateful_set_controller(Context context);
ControllerPtr make_job_controller(Context context);
ControllerPtr make_cron_job_controller(Context context);
ControllerPtr make_ttl_after_finished_controller(Context context);

ControllerPtr make_endpoints_controller(Context context);
ControllerPtr make_endpoint_slice_controller(Context context);
ControllerPtr make_endpoint_slice_mirroring_controller(Context context);
ControllerPtr make_service_lb_controller(Context context);

ControllerPtr make_namespace_controller(Context context);
ControllerPtr make_service_account_controller(Context context);
ControllerPtr make_service_account_token_controller(Context context, const Options& options);
ControllerPtr make_root_ca_controller(Context context, const Options& options);
ControllerPtr make_garbage_collector(Context context);
ControllerPtr make_pod_garbage_collector(Context context);
ControllerPtr make_resource_quota_controller(Context context);
ControllerPtr make_disruption_controller(Context context);
ControllerPtr make_policy_status_controller(Context context);
ControllerPtr make_cluster_role_aggregation_controller(Context context);

ControllerPtr make_node_ipam_controller(Context context, const Options& options);
ControllerPtr make_node_lifecycle_controller(Context context, const Options& options);
ControllerPtr make_taint_eviction_controller(Context context);

ControllerPtr make_csr_approver(Context context);
ControllerPtr make_csr_cleaner(Context context);
ControllerPtr make_csr_signer(Context context, const Options& options);
ControllerPtr make_bootstrap_token_cleaner(Context context);

ControllerPtr make_volume_binder(Context context);
ControllerPtr make_local_path_provisioner(Context context, const Options& options);
ControllerPtr make_volume_protection_controller(Context context);
ControllerPtr make_ephemeral_volume_controller(Context context);

}  // namespace kcube::controllers
