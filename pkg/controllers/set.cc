#include "pkg/controllers/set.h"

#include <algorithm>
#include <functional>

#include "pkg/base/executor.h"
#include "pkg/base/strings.h"
#include "pkg/client/informer.h"
#include "pkg/controllers/factories.h"

namespace kcube::controllers {
namespace {

struct Entry {
  const char* name;     // as in kube-controller-manager's --controllers
  std::function<ControllerPtr(Context, const Options&)> make;
};

template <auto make>
ControllerPtr plain(Context context, const Options&) {
  return make(context);
}

const Entry kAll[] = {
    {"replicaset", plain<make_replica_set_controller>},
    {"replicationcontroller", plain<make_replication_controller>},
    {"deployment", plain<make_deployment_controller>},
    {"daemonset", plain<make_daemon_set_controller>},
    {"statefulset", plain<make_stateful_set_controller>},
    {"job", plain<make_job_controller>},
    {"cronjob", plain<make_cron_job_controller>},
    {"ttl-after-finished", plain<make_ttl_after_finished_controller>},
    {"endpoint", plain<make_endpoints_controller>},
    {"endpointslice", plain<make_endpoint_slice_controller>},
    {"endpointslicemirroring", plain<make_endpoint_slice_mirroring_controller>},
    {"service-lb-controller", plain<make_service_lb_controller>},
    {"namespace", plain<make_namespace_controller>},
    {"serviceaccount", plain<make_service_account_controller>},
    {"root-ca-cert-publisher", make_root_ca_controller},
    {"serviceaccount-token", make_service_account_token_controller},
    {"garbagecollector", plain<make_garbage_collector>},
    {"podgc", plain<make_pod_garbage_collector>},
    {"resourcequota", plain<make_resource_quota_controller>},
    {"validatingadmissionpolicy-status", plain<make_policy_status_controller>},
    {"disruption", plain<make_disruption_controller>},
    {"clusterrole-aggregation", plain<make_cluster_role_aggregation_controller>},
    {"nodeipam", make_node_ipam_controller},
    {"nodelifecycle", make_node_lifecycle_controller},
    {"taint-eviction-controller", plain<make_taint_eviction_controller>},
    {"csrapproving", plain<make_csr_approver>},
    {"csrsigning", make_csr_signer},
    {"csrcleaner", plain<make_csr_cleaner>},
    {"tokencleaner", plain<make_bootstrap_token_cleaner>},
    {"persistentvolume-binder", plain<make_volume_binder>},
    {"local-path-provisioner", make_local_path_provisioner},
    {"volume-protection", plain<make_volume_protection_controller>},
    {"ephemeral-volume", plain<make_ephemeral_volume_controller>},
};

bool is_disabled(const Options& options, std::string_view name) {
  return std::ranges::any_of(options.disabled, [&](const std::string& d) { return d == name || d == "*"; });
}

class ControllerSetImpl final : public ControllerSet {
 public:
  ControllerSetImpl(client::Client& client, Clock& clock, const Options& options)
      : executor_({.name = "controllers", .max_threads = 16}), informers_(client, clock) {
    Context context{client, informers_, clock, executor_};
    for (const Entry& entry : kAll)
      if (!is_disabled(options, entry.name)) controllers_.push_back(entry.make(context, options));
  }
  ~ControllerSetImpl() override { stop(); }

  void start() override {
    informers_.start();
    informers_.wait_synced();
    for (auto& controller : controllers_) controller->start();
  }

  // No more events, then no more work, then the threads.
  void stop() override {
    if (std::exchange(stopped_, true)) return;
    informers_.stop();
    for (auto& controller : controllers_) controller->stop();
    executor_.stop();
  }

 private:
  Executor executor_;
  client::InformerFactory informers_;
  std::vector<ControllerPtr> controllers_;
  bool stopped_ = false;
};

}  // namespace

bool is_controller(std::string_view name) {
  return std::ranges::any_of(kAll, [&](const Entry& entry) { return entry.name == name; });
}

std::string controller_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kAll) names.emplace_back(entry.name);
  return join(names, ", ");
}

std::unique_ptr<ControllerSet> ControllerSet::create(client::Client& client, Clock& clock, Options options) {
  return std::make_unique<ControllerSetImpl>(client, clock, options);
}

}  // namespace kcube::controllers
