// Admission's own state: which plugins are on, in which order, and what the configurations in the cluster compile to.
// Owned by the Server; thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/admission/compiled.h"
#include "pkg/apiserver/admission/event_rates.h"
#include "pkg/apiserver/admission/image_policy.h"
#include "pkg/apiserver/admission/pod_security.h"
#include "pkg/apiserver/admission/policies.h"
#include "pkg/apiserver/admission/quota_charges.h"
#include "pkg/apiserver/admission/webhooks.h"
#include "pkg/apiserver/apiserver.h"
#include "pkg/apiserver/metrics/admission_metrics.h"
#include "pkg/base/executor.h"

namespace kcube::apiserver {

class AdmissionControl {
 public:
  explicit AdmissionControl(Core& core);
  // Before the first request. 400 for names that nobody knows.
  Result<void> configure(const AdmissionOptions& options);
  void stop();

  struct Active {
    const AdmissionPlugin* plugin;
    AdmissionTimes* times;
  };
  const std::vector<Active>& plugins() const { return plugins_; }
  AdmissionMetrics& metrics() { return metrics_; }
  void write_metrics(MetricsText& out) const;
  // Null when there are none.
  std::shared_ptr<const Webhooks> mutating_webhooks() const { return mutating_.get(); }
  std::shared_ptr<const Webhooks> validating_webhooks() const { return validating_.get(); }
  std::shared_ptr<const AdmissionPolicies> validating_policies() const { return validating_policies_.get(); }
  std::shared_ptr<const AdmissionPolicies> mutating_policies() const { return mutating_policies_.get(); }
  const PodSecuritySettings& pod_security() const { return pod_security_; }
  // Null when EventRateLimit is off, or has no configuration.
  EventRates* event_rates() const { return event_rates_.get(); }
  // Likewise of ImagePolicyWebhook.
  ImagePolicy* image_policy() const { return image_policy_.get(); }
  // What the configuration file says of a plugin; null when it says nothing.
  const json::value* configuration(std::string_view plugin) const {
    auto it = configurations_.find(plugin);
    return it == configurations_.end() ? nullptr : &it->second;
  }
  QuotaCharges& quota_charges() { return quota_charges_; }
  // For calls that run side by side.
  Executor& calls() { return calls_; }

 private:
  Result<void> read_configuration(const std::string& text);
  Result<void> apply_configuration();

  Core& core_;
  std::vector<Active> plugins_;
  std::map<std::string_view, std::unique_ptr<AdmissionTimes>> times_;   // of the plugins, by name
  AdmissionMetrics metrics_;
  std::map<std::string, json::value, std::less<>> configurations_;
  std::unique_ptr<EventRates> event_rates_;
  std::unique_ptr<ImagePolicy> image_policy_;
  PodSecuritySettings pod_security_;
  Compiled<Webhooks> mutating_, validating_;
  Compiled<AdmissionPolicies> validating_policies_, mutating_policies_;
  QuotaCharges quota_charges_;
  Executor calls_;
};

}  // namespace kcube::apiserver
