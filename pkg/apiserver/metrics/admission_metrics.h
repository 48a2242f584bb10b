// What is counted of admission, in kube-apiserver's terms: how long plugins, webhooks and policies took and what they said.
// Thread-safe; a plugin's series are found without a lock.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "pkg/apiserver/core.h"
#include "pkg/base/metrics.h"

namespace kcube::apiserver {

enum class AdmissionStep { admit, validate };   // mutating and validating

// Durations of one plugin, or of a whole step, by operation, step and verdict.
class AdmissionTimes {
 public:
  AdmissionTimes() = default;
  ~AdmissionTimes();
  AdmissionTimes(const AdmissionTimes&) = delete;
  void observe(Operation operation, AdmissionStep step, bool rejected, double seconds);
  // `name` is empty for a step.
  void write(MetricsText& out, std::string_view name) const;

 private:
  static constexpr size_t kKinds = 4 * 2 * 2;
  std::array<std::atomic<Histogram*>, kKinds> all_{};   // made when they are first seen
};

class AdmissionMetrics {
 public:
  AdmissionMetrics();
  AdmissionTimes steps;
  // One call of a webhook of `type` admit or validating: `error` is empty when it answered, `code` what it (or the failure) came to.
  void called(std::string_view webhook, std::string_view type, Operation operation, bool rejected, std::string_view error, int code, double seconds);
  void failed_open(std::string_view webhook, std::string_view type);
  // One judgement of a ValidatingAdmissionPolicy; `action` is allow, deny, warn or audit.
  void judged(std::string_view policy, std::string_view binding, bool error, std::string_view action, double seconds);
  // One mutation of a MutatingAdmissionPolicy.
  void mutated(std::string_view policy, std::string_view binding, bool error, double seconds);
  void write(MetricsText& out) const;

 private:
  Family<Histogram> webhook_seconds_, policy_seconds_, mutation_seconds_;
  Family<Counter> webhook_requests_, webhook_rejections_, webhooks_failed_open_, policy_checks_, mutations_;
};

}  // namespace kcube::apiserver
