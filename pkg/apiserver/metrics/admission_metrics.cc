#include "pkg/apiserver/metrics/admission_metrics.h"

#include <algorithm>

#include "pkg/apiserver/admission/match.h"

namespace kcube::apiserver {
namespace {

constexpr double kPluginBounds[] = {0.005, 0.025, 0.1, 0.5, 1, 2.5};
constexpr double kWebhookBounds[] = {0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25};
constexpr double kPolicyBounds[] = {0.0000005, 0.001, 0.01, 0.1, 1};
constexpr int kMostCode = 600;

std::string step_label(AdmissionStep step) { return step == AdmissionStep::admit ? "admit" : "validate"; }
std::string flag(bool value) { return value ? "true" : "false"; }
std::string error_label(bool error) { return error ? "invalid_error" : "no_error"; }

}  // namespace

AdmissionTimes::~AdmissionTimes() {
  for (auto& one : all_) delete one.load();
}

void AdmissionTimes::observe(Operation operation, AdmissionStep step, bool rejected, double seconds) {
  auto& slot = all_[static_cast<size_t>(operation) * 4 + static_cast<size_t>(step) * 2 + rejected];
  Histogram* histogram = slot.load(std::memory_order_acquire);
  if (histogram == nullptr) {
    auto made = std::make_unique<Histogram>(kPluginBounds);
    if (slot.compare_exchange_strong(histogram, made.get())) histogram = made.release();
  }
  histogram->observe(seconds);
}

void AdmissionTimes::write(MetricsText& out, std::string_view name) const {
  for (size_t i = 0; i < kKinds; ++i) {
    const Histogram* histogram = all_[i].load(std::memory_order_acquire);
    if (histogram == nullptr) continue;
    std::string step = step_label(static_cast<AdmissionStep>(i / 2 % 2));
    Labels labels{{"operation", operation_name(static_cast<Operation>(i / 4))}, {"rejected", i % 2 != 0 ? "true" : "false"}, {"type", step}};
    if (!name.empty()) labels.insert(labels.begin(), {"name", name});
    out.histogram(labels, *histogram);
  }
}

AdmissionMetrics::AdmissionMetrics()
    : webhook_seconds_("apiserver_admission_webhook_admission_duration_seconds", "[STABLE] Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
                       {"name", "type", "operation", "rejected"}, kWebhookBounds),
      policy_seconds_("apiserver_validating_admission_policy_check_duration_seconds", "[BETA] Validation admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken.",
                      {"policy", "policy_binding", "error_type", "enforcement_action"}, kPolicyBounds),
      mutation_seconds_("apiserver_mutating_admission_policy_check_duration_seconds", "[ALPHA] Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding.",
                        {"policy", "policy_binding", "error_type"}, kPolicyBounds),
      webhook_requests_("apiserver_admission_webhook_request_total", "[ALPHA] Admission webhook request total, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify whether the request was rejected or not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
                        {"name", "type", "operation", "code", "rejected"}),
      webhook_rejections_("apiserver_admission_webhook_rejection_count", "[ALPHA] Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
                          {"name", "type", "operation", "error_type", "rejection_code"}),
      webhooks_failed_open_("apiserver_admission_webhook_fail_open_count", "[ALPHA] Admission webhook fail open count, identified by name and broken out for each admission type (validating or admit).", {"name", "type"}),
      policy_checks_("apiserver_validating_admission_policy_check_total", "[BETA] Validation admission policy check total, labeled by policy and further identified by binding and enforcement action taken.",
                     {"policy", "policy_binding", "error_type", "enforcement_action"}),
      mutations_("apiserver_mutating_admission_policy_check_total", "[ALPHA] Mutation admission policy check total, labeled by policy and further identified by binding.", {"policy", "policy_binding", "error_type"}) {}

void AdmissionMetrics::called(std::string_view webhook, std::string_view type, Operation operation, bool rejected, std::string_view error, int code, double seconds) {
  std::string name(webhook), kind(type), op(operation_name(operation)), number = std::to_string(std::min(code, kMostCode));
  webhook_seconds_.at({name, kind, op, flag(rejected)}).observe(seconds);
  count(webhook_requests_.at({name, kind, op, number, flag(rejected)}));
  if (rejected) count(webhook_rejections_.at({name, kind, op, error.empty() ? "no_error" : std::string(error), number}));
}

void AdmissionMetrics::failed_open(std::string_view webhook, std::string_view type) { count(webhooks_failed_open_.at({std::string(webhook), std::string(type)})); }

void AdmissionMetrics::judged(std::string_view policy, std::string_view binding, bool error, std::string_view action, double seconds) {
  std::vector<std::string> labels{std::string(policy), std::string(binding), error_label(error), std::string(action)};
  count(policy_checks_.at(labels));
  policy_seconds_.at(std::move(labels)).observe(seconds);
}

void AdmissionMetrics::mutated(std::string_view policy, std::string_view binding, bool error, double seconds) {
  std::vector<std::string> labels{std::string(policy), std::string(binding), error_label(error)};
  count(mutations_.at(labels));
  mutation_seconds_.at(std::move(labels)).observe(seconds);
}

void AdmissionMetrics::write(MetricsText& out) const {
  out.family("apiserver_admission_step_admission_duration_seconds", "histogram", "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).");
  steps.write(out, "");
  webhook_seconds_.write(out);
  webhook_requests_.write(out);
  webhook_rejections_.write(out);
  webhooks_failed_open_.write(out);
  policy_seconds_.write(out);
  policy_checks_.write(out);
  mutation_seconds_.write(out);
  mutations_.write(out);
}

}  // namespace kcube::apiserver
