#include "pkg/controllers/job_rules.h"

#include <algorithm>

#include "pkg/base/strings.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers::job {
namespace {

// The first container that this rule is about.
std::optional<std::pair<std::string, int64_t>> matching_exit(const json::value& rule, const api::Object& pod) {
  std::string_view only = json::get_string(rule, {"onExitCodes", "containerName"}), op = json::get_string(rule, {"onExitCodes", "operator"});
  const json::array& values = json::get_array(json::at(&rule, {"onExitCodes", "values"}));
  for (const char* list : {"containerStatuses", "initContainerStatuses"})
    for (const json::value& c : json::get_array(json::at(&pod.value(), {"status", list}))) {
      if (!only.empty() && json::get_string(c, {"name"}) != only) continue;
      if (!has(c, {"state", "terminated"})) continue;
      int64_t code = json::get_int(c, {"state", "terminated", "exitCode"});
      if (code == 0) continue;
      bool in = std::ranges::any_of(values, [&](const json::value& v) { return json::get_int(&v, -1) == code; });
      if (in == (op == "In")) return std::pair(string_at(c, {"name"}), code);
    }
  return std::nullopt;
}

const json::value* matching_condition(const json::value& rule, const api::Object& pod) {
  for (const json::value& pattern : json::get_array(json::find(&rule, "onPodConditions")))
    if (condition_is(pod.value(), json::get_string(pattern, {"type"}), json::get_string(json::find(&pattern, "status"), "True"))) return &pattern;
  return nullptr;
}

}  // namespace

Indexes parse_indexes(std::string_view text, int64_t completions) {
  Indexes out;
  if (text.empty()) return out;
  for (std::string_view part : split(text, ',')) {
    size_t dash = part.find('-');
    auto first = parse_int<int64_t>(part.substr(0, dash));
    auto last = dash == std::string_view::npos ? first : parse_int<int64_t>(part.substr(dash + 1));
    if (!first || !last) continue;
    for (int64_t i = *first; i <= *last && i < completions; ++i) out.insert(out.end(), i);
  }
  return out;
}

std::string format_indexes(const Indexes& indexes) {
  std::string out;
  for (auto it = indexes.begin(); it != indexes.end();) {
    int64_t first = *it, last = first;
    while (++it != indexes.end() && *it == last + 1) last = *it;
    if (!out.empty()) out += ',';
    out += std::to_string(first);
    // Two neighbours are listed one by one.
    if (last == first + 1) out += "," + std::to_string(last);
    else if (last > first) out += "-" + std::to_string(last);
  }
  return out;
}

bool is_indexed(const json::value& job) { return json::get_string(job, {"spec", "completionMode"}) == "Indexed"; }
bool is_suspended(const json::value& job) { return json::get_bool(job, {"spec", "suspend"}); }
bool only_failed(const json::value& job) {
  return json::get_string(job, {"spec", "podReplacementPolicy"}) == "Failed" || has(job, {"spec", "podFailurePolicy"});
}
bool has_limit_per_index(const json::value& job) { return has(job, {"spec", "backoffLimitPerIndex"}); }

int64_t index_of(const api::Object& pod) {
  return parse_int<int64_t>(string_at(pod.value(), {"metadata", "annotations", kIndex})).value_or(-1);
}

bool has_tracking(const api::Object& pod) {
  const json::array& finalizers = json::get_array(json::at(&pod.value(), {"metadata", "finalizers"}));
  return std::ranges::any_of(finalizers, [](const json::value& f) { return json::get_string(&f) == kTracking; });
}

bool pod_counts_as_failed(const json::value& job, const api::Object& pod) {
  if (pod_phase(pod) == "Failed") return true;
  if (only_failed(job)) return false;
  return pod.deleting() && pod_phase(pod) != "Succeeded";
}

SystemTime finish_time(const api::Object& pod, SystemTime fallback) {
  SystemTime latest{};
  for (const json::value& c : json::get_array(json::at(&pod.value(), {"status", "containerStatuses"})))
    latest = std::max(latest, time_at(c, {"state", "terminated", "finishedAt"}));
  if (latest != SystemTime{}) return latest;
  SystemTime deleted = time_at(pod.value(), {"metadata", "deletionTimestamp"});
  return deleted != SystemTime{} ? std::min(deleted, fallback) : fallback;
}

Verdict judge(const json::value& job, const api::Object& pod) {
  if (pod_phase(pod) != "Failed") return {};
  const json::array& rules = json::get_array(json::at(&job, {"spec", "podFailurePolicy", "rules"}));
  for (size_t i = 0; i < rules.size(); ++i) {
    std::string_view action = json::get_string(rules[i], {"action"});
    std::string what;
    if (has(rules[i], {"onExitCodes"})) {
      if (auto exit = matching_exit(rules[i], pod))
        what = "Container " + exit->first + " for pod " + pod.key() + " failed with exit code " + std::to_string(exit->second);
    } else if (const json::value* pattern = matching_condition(rules[i], pod)) {
      what = "Pod " + pod.key() + " has condition " + string_at(*pattern, {"type"});
    }
    if (what.empty()) continue;
    if (action == "Ignore") return {Verdict::Action::ignore};
    if (action == "FailIndex") return {Verdict::Action::fail_index};
    if (action == "FailJob") return {Verdict::Action::fail_job, what + " matching FailJob rule at index " + std::to_string(i)};
    return {};
  }
  return {};
}

int64_t index_failures(const api::Object& pod, bool counts) {
  return parse_int<int64_t>(string_at(pod.value(), {"metadata", "annotations", kIndexFailures})).value_or(0) + counts;
}

std::optional<size_t> success_rule(const json::value& job, const Indexes& done) {
  const json::array& rules = json::get_array(json::at(&job, {"spec", "successPolicy", "rules"}));
  int64_t completions = json::get_int(job, {"spec", "completions"}, INT32_MAX);
  for (size_t i = 0; i < rules.size(); ++i) {
    Indexes wanted = parse_indexes(json::get_string(rules[i], {"succeededIndexes"}), completions);
    bool any = wanted.empty();
    int64_t count = std::ranges::count_if(done, [&](int64_t index) { return any || wanted.contains(index); });
    int64_t needed = has(rules[i], {"succeededCount"}) ? json::get_int(rules[i], {"succeededCount"}) : static_cast<int64_t>(wanted.size());
    if (needed > 0 && count >= needed) return i;
  }
  return std::nullopt;
}

json::object make_pod(const json::value& job, int64_t index, int64_t failures, int64_t ignored) {
  json::value pod(pod_from_template(*json::at(&job, {"spec", "template"}), job));
  json::object& metadata = json::ensure_path(pod, {"metadata"});
  json::ensure_array(metadata, "finalizers").push_back(kTracking);
  for (const auto& m : json::get_object(json::at(&job, {"spec", "selector", "matchLabels"}))) json::ensure_object(metadata, "labels")[m.key()] = m.value();
  if (index < 0) return std::move(pod.as_object());
  std::string number = std::to_string(index), name = string_at(job, {"metadata", "name"});
  metadata["generateName"] = text(name + "-" + number + "-");
  json::ensure_object(metadata, "annotations")[kIndex] = text(number);
  json::ensure_object(metadata, "labels")[kIndex] = text(number);
  if (has_limit_per_index(job)) {
    json::ensure_object(metadata, "annotations")[kIndexFailures] = text(std::to_string(failures));
    if (ignored > 0) json::ensure_object(metadata, "annotations")[kIndexIgnored] = text(std::to_string(ignored));
  }
  json::object& spec = json::ensure_path(pod, {"spec"});
  spec["hostname"] = text(name + "-" + number);
  json::object source{{"fieldRef", json::object{{"apiVersion", "v1"}, {"fieldPath", text(std::string("metadata.labels['") + kIndex + "']")}}}};
  for (const char* list : {"containers", "initContainers"}) {
    json::value* containers = spec.if_contains(list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (json::value& c : containers->get_array()) {
      json::array& env = json::ensure_array(c.as_object(), "env");
      bool own = std::ranges::any_of(env, [](const json::value& e) { return json::get_string(e, {"name"}) == "JOB_COMPLETION_INDEX"; });
      if (!own) env.push_back(json::object{{"name", "JOB_COMPLETION_INDEX"}, {"valueFrom", source}});
    }
  }
  return std::move(pod.as_object());
}

}  // namespace kcube::controllers::job
