// What a Job's spec says about its pods, as functions: sets of indexes, failure policy, success policy, when a pod counts
// as failed. Source: the Kubernetes docs on Jobs. Internal to the room.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/base/clock.h"

namespace kcube::controllers::job {

inline constexpr const char* kTracking = "batch.kubernetes.io/job-tracking";
inline constexpr const char* kIndex = "batch.kubernetes.io/job-completion-index";
inline constexpr const char* kIndexFailures = "batch.kubernetes.io/job-index-failure-count";
inline constexpr const char* kIndexIgnored = "batch.kubernetes.io/job-index-ignored-failure-count";

using Indexes = std::set<int64_t>;
Indexes parse_indexes(std::string_view text, int64_t completions = INT32_MAX);   // "0-2,5"
std::string format_indexes(const Indexes& indexes);

bool is_indexed(const json::value& job);
bool is_suspended(const json::value& job);
// Only pods that have really ended are replaced and counted.
bool only_failed(const json::value& job);
bool has_limit_per_index(const json::value& job);
int64_t index_of(const api::Object& pod);   // -1 when it has none
bool has_tracking(const api::Object& pod);
bool pod_counts_as_failed(const json::value& job, const api::Object& pod);
SystemTime finish_time(const api::Object& pod, SystemTime fallback);

struct Verdict {
  enum class Action { count, ignore, fail_job, fail_index } action = Action::count;
  std::string message;   // of fail_job
};
Verdict judge(const json::value& job, const api::Object& pod);

// Failures of this pod's index, this one included when it counts.
int64_t index_failures(const api::Object& pod, bool counts);
// The rule of the success policy that the completed indexes fulfil.
std::optional<size_t> success_rule(const json::value& job, const Indexes& done);

// The pod of one index (or of none, -1), with the label, environment and host name that tell the program its index.
json::object make_pod(const json::value& job, int64_t index, int64_t failures, int64_t ignored);

}  // namespace kcube::controllers::job
