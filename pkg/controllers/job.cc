// Jobs: pods until enough of them have succeeded. A pod carries a finalizer until its end is counted in the status, so
// that none is counted twice or lost, whoever deletes it.
#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "pkg/base/strings.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/job_rules.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kJobs;
using client::resources::kPods;
using job::Indexes;
using job::Verdict;
using Pods = std::vector<api::ObjectPtr>;

constexpr auto kFirstBackOff = std::chrono::seconds(10), kLastBackOff = std::chrono::seconds(600);
constexpr int64_t kBurst = 500;

struct BackOffRecord {
  int64_t failures = 0;   // since the last success
  SystemTime last{};
  void count(bool failed, SystemTime when) {
    failures = failed ? failures + 1 : 0;
    last = std::max(last, when);
  }
  SystemTime due() const {
    if (failures == 0) return {};
    return last + std::min<std::chrono::seconds>(kLastBackOff, kFirstBackOff * (int64_t{1} << std::min<int64_t>(failures - 1, 10)));
  }
};

// How a Job is about to end.
struct Target {
  std::string condition, reason, message;   // SuccessCriteriaMet or FailureTarget
  explicit operator bool() const { return !condition.empty(); }
  bool success() const { return condition == "SuccessCriteriaMet"; }
};

struct Sync {
  api::ObjectPtr object;
  std::string key;
  const json::value& value;
  Pods active, terminating;
  Pods count_succeeded, count_failed, strip;   // to be counted, and those that count nowhere
  Indexes done, failed_indexes;
  std::map<int64_t, BackOffRecord> index_back_off;
  std::map<int64_t, int64_t> index_failures, index_ignored;
  int64_t succeeded = 0, failed = 0;
  std::string failure_policy;                  // message of a rule that fails the Job
  BackOffRecord back_off;
  Target target;
  int64_t active_now = 0, terminating_now = 0;

  bool indexed() const { return job::is_indexed(value); }
  int64_t completions() const { return json::get_int(value, {"spec", "completions"}, -1); }
};

bool finished(const json::value& value) { return condition_is(value, "Complete") || condition_is(value, "Failed"); }

std::set<std::string> uncounted(const json::value& value, const char* list) {
  std::set<std::string> out;
  for (const json::value& uid : json::get_array(json::at(&value, {"status", "uncountedTerminatedPods", list}))) out.emplace(json::get_string(&uid));
  return out;
}

class JobController final : public Controller {
 public:
  explicit JobController(Context context)
      : Controller(context, "job"), expectations_(context.clock), recorder_(context.client, context.clock, "job-controller"),
        control_(context.client, recorder_, expectations_), jobs_(follow_own(kJobs)), pods_(context.informers.informer(kPods)) {
    index_by_controller(pods_);
    pods_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) { pod_changed(before, now); },
                        .removed =
                            [this](const api::ObjectPtr& last) {
                              forget_stripped(*last);
                              std::string key = owner_key(*last);
                              if (key.empty()) return;
                              expectations_.deletion_observed(key, last->uid());
                              enqueue(key);
                            }});
    jobs_.add_handlers({.removed = [this](const api::ObjectPtr& last) {
      for (const auto& pod : controlled_by(pods_, last->uid()))
        if (job::has_tracking(*pod)) enqueue("orphan/" + pod->key());
    }});
  }

 private:
  static std::string owner_key(const api::Object& pod) {
    api::OwnerReference owner = api::controller_of(pod.value());
    return owner.kind == "Job" ? api::object_key(pod.namespace_(), owner.name) : std::string();
  }

  void pod_changed(const api::ObjectPtr& before, const api::ObjectPtr& now) {
    std::string key = owner_key(*now);
    bool tracking = job::has_tracking(*now);
    if (!tracking) forget_stripped(*now);
    if (!key.empty()) {
      if (!before) expectations_.creation_observed(key);
      if (now->deleting()) expectations_.deletion_observed(key, now->uid());
      enqueue(key);
    }
    api::ObjectPtr owner = key.empty() ? nullptr : jobs_.get(key);
    if (tracking && (!owner || owner->uid() != api::controller_of(now->value()).uid)) enqueue("orphan/" + now->key());
    if (key.empty() && !now->deleting() && api::controller_of(now->value()).uid.empty())
      for (const auto& candidate : jobs_.list(now->namespace_()))
        if (selector_of(candidate->value()).matches(now->labels())) enqueue(candidate->key());
  }

  static api::LabelSelector selector_of(const json::value& value) {
    auto selector = api::LabelSelector::from_json(json::at(&value, {"spec", "selector"}));
    return selector && !selector->everything() ? *selector : api::LabelSelector::nothing();
  }

  Result<void> reconcile(const std::string& key) override {
    if (key.starts_with("orphan/")) return release_orphan(key.substr(7));
    api::ObjectPtr object = jobs_.get(key);
    if (!object) {
      expectations_.forget(key);
      std::lock_guard lock(mutex_);
      back_off_.erase(key);
      return {};
    }
    std::string manager = string_at(object->value(), {"spec", "managedBy"});
    if (!manager.empty() && manager != "kubernetes.io/job-controller") return {};
    if (finished(object->value())) {
      for (const auto& pod : controlled_by(pods_, object->uid()))
        if (auto r = strip(*pod); !r) return r;
      return {};
    }
    bool act = expectations_.satisfied(key);
    auto claimed = claim_children(client_, pods_, kPods, *object, kJobs, selector_of(object->value()));
    if (!claimed) return fail(claimed.error());
    Sync sync{object, key, object->value()};
    sort_pods(sync, *claimed);
    decide(sync);
    Result<void> managed;
    if (act) managed = carry_out(sync);
    auto written = write(sync);
    return managed ? written : managed;
  }

  // --- Looking ---
  void sort_pods(Sync& sync, const Pods& pods) {
    SystemTime now = clock_.now();
    auto uncounted_ok = uncounted(sync.value, "succeeded"), uncounted_bad = uncounted(sync.value, "failed");
    bool failing = condition_is(sync.value, "FailureTarget"), ending = failing || condition_is(sync.value, "SuccessCriteriaMet");
    int64_t completions = sync.indexed() ? sync.completions() : INT32_MAX;
    sync.done = job::parse_indexes(json::get_string(sync.value, {"status", "completedIndexes"}), completions);
    sync.failed_indexes = job::parse_indexes(json::get_string(sync.value, {"status", "failedIndexes"}), completions);
    std::vector<std::pair<SystemTime, std::pair<bool, int64_t>>> ends;
    for (const auto& pod : pods) {
      if (pod_active(*pod)) sync.active.push_back(pod);
      if (pod_terminating(*pod)) sync.terminating.push_back(pod);
      std::string uid(pod->uid());
      int64_t index = sync.indexed() ? job::index_of(*pod) : -1;
      bool valid = !sync.indexed() || (index >= 0 && index < completions);
      bool ok = pod_phase(*pod) == "Succeeded", bad = !ok && (job::pod_counts_as_failed(sync.value, *pod) || (sync.object->deleting() && pod->deleting()));
      if (bad && valid) note_failure(sync, *pod, index);
      if (!job::has_tracking(*pod) || is_stripped(uid)) continue;
      if (uncounted_ok.contains(uid) || uncounted_bad.contains(uid)) {
        sync.strip.push_back(pod);
      } else if (ok || bad) {
        bool ignored = !valid || (bad && job::judge(sync.value, *pod).action == Verdict::Action::ignore) || (bad && ending && !failing && pod_phase(*pod) != "Failed");
        (ignored ? sync.strip : ok ? sync.count_succeeded : sync.count_failed).push_back(pod);
        if (ok && valid && sync.indexed()) sync.done.insert(index);
        if (!ignored) ends.push_back({job::finish_time(*pod, now), {bad, index}});
      }
    }
    {
      std::lock_guard lock(mutex_);
      if (auto it = back_off_.find(sync.key); it != back_off_.end()) sync.back_off = it->second;
    }
    std::ranges::sort(ends);
    for (const auto& [when, end] : ends) sync.back_off.count(end.first, when);
    for (int64_t index : sync.done) sync.failed_indexes.erase(index);
    sync.failed = json::get_int(sync.value, {"status", "failed"}) + static_cast<int64_t>(uncounted_bad.size() + sync.count_failed.size());
    sync.succeeded = sync.indexed() ? static_cast<int64_t>(sync.done.size())
                                    : json::get_int(sync.value, {"status", "succeeded"}) + static_cast<int64_t>(uncounted_ok.size() + sync.count_succeeded.size());
    sync.active_now = static_cast<int64_t>(sync.active.size());
    sync.terminating_now = static_cast<int64_t>(sync.terminating.size());
  }

  // The failure policy, and the failures of one index.
  void note_failure(Sync& sync, const api::Object& pod, int64_t index) {
    Verdict verdict = job::judge(sync.value, pod);
    if (verdict.action == Verdict::Action::fail_job && sync.failure_policy.empty()) sync.failure_policy = verdict.message;
    if (!job::has_limit_per_index(sync.value) || index < 0) return;
    bool counts = verdict.action != Verdict::Action::ignore;
    int64_t failures = job::index_failures(pod, counts);
    if (failures >= sync.index_failures[index]) {
      sync.index_failures[index] = failures;
      sync.index_ignored[index] = parse_int<int64_t>(string_at(pod.value(), {"metadata", "annotations", job::kIndexIgnored})).value_or(0) + !counts;
      sync.index_back_off[index] = {failures, job::finish_time(pod, clock_.now())};
    }
    if (failures > json::get_int(sync.value, {"spec", "backoffLimitPerIndex"}) || verdict.action == Verdict::Action::fail_index) sync.failed_indexes.insert(index);
  }

  // --- Deciding ---
  void decide(Sync& sync) {
    const json::value& value = sync.value;
    for (const char* type : {"FailureTarget", "SuccessCriteriaMet"})
      if (condition_is(value, type)) {
        const json::value& c = *find_condition(value, type);
        sync.target = {type, string_at(c, {"reason"}), string_at(c, {"message"})};
        return;
      }
    auto failure = [&](const char* reason, std::string message) { sync.target = {"FailureTarget", reason, std::move(message)}; };
    int64_t limit = json::get_int(value, {"spec", "backoffLimit"}, job::has_limit_per_index(value) ? INT32_MAX : 6);
    if (!sync.failure_policy.empty()) return failure("PodFailurePolicy", sync.failure_policy);
    if (sync.failed > limit || restarted_too_often(sync, limit)) return failure("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    if (past_deadline(sync)) return failure("DeadlineExceeded", "Job was active longer than specified deadline");
    if (sync.indexed() && job::has_limit_per_index(value)) {
      int64_t n = static_cast<int64_t>(sync.failed_indexes.size());
      if (has(value, {"spec", "maxFailedIndexes"}) && n > json::get_int(value, {"spec", "maxFailedIndexes"}))
        return failure("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
      if (n > 0 && n + sync.succeeded >= sync.completions()) return failure("FailedIndexes", "Job has failed indexes");
    }
    if (auto rule = job::success_rule(value, sync.done)) {
      sync.target = {"SuccessCriteriaMet", "SuccessPolicy", "Matched rules at index " + std::to_string(*rule)};
      return;
    }
    bool complete = sync.completions() < 0 ? sync.succeeded > 0 && sync.active.empty() : sync.succeeded >= sync.completions() && sync.active.empty();
    if (complete) sync.target = {"SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"};
  }

  static bool restarted_too_often(const Sync& sync, int64_t limit) {
    if (string_at(sync.value, {"spec", "template", "spec", "restartPolicy"}) != "OnFailure") return false;
    int64_t restarts = 0;
    for (const auto& pod : sync.active) {
      restarts += pod_restarts(*pod);
      for (const json::value& c : json::get_array(json::at(&pod->value(), {"status", "initContainerStatuses"}))) restarts += json::get_int(c, {"restartCount"});
    }
    return limit == 0 ? restarts > 0 : restarts >= limit;
  }

  bool past_deadline(const Sync& sync) {
    SystemTime start = time_at(sync.value, {"status", "startTime"});
    if (!has(sync.value, {"spec", "activeDeadlineSeconds"}) || job::is_suspended(sync.value) || start == SystemTime{}) return false;
    SystemTime due = start + std::chrono::seconds(json::get_int(sync.value, {"spec", "activeDeadlineSeconds"}));
    if (due <= clock_.now()) return true;
    enqueue_after(sync.key, due - clock_.now());
    return false;
  }

  // --- Acting ---
  Result<void> carry_out(Sync& sync) {
    if (sync.object->deleting()) return {};
    if (sync.target) {
      // The finalizers stay, so that what these pods come to is still counted.
      auto r = sync.active.empty() ? Result<void>() : control_.remove(sync.key, sync.value, sync.active);
      sync.terminating_now += sync.active_now;
      sync.active_now = 0;
      return r;
    }
    if (job::is_suspended(sync.value)) return remove(sync, sync.active);
    return manage(sync);
  }

  // Pods that are too many count nowhere.
  Result<void> remove(Sync& sync, const Pods& pods) {
    if (pods.empty()) return {};
    for (const auto& pod : pods)
      if (auto r = strip(*pod); !r) return r;
    sync.active_now -= static_cast<int64_t>(pods.size());
    sync.terminating_now += static_cast<int64_t>(pods.size());
    return control_.remove(sync.key, sync.value, pods);
  }

  Result<void> manage(Sync& sync) {
    int64_t parallelism = json::get_int(sync.value, {"spec", "parallelism"}, 1), active = sync.active_now, wanted;
    if (sync.completions() < 0) {
      wanted = sync.succeeded > 0 ? active : parallelism;
    } else {
      int64_t open = sync.completions() - sync.succeeded - (sync.indexed() ? static_cast<int64_t>(sync.failed_indexes.size()) : 0);
      wanted = std::max<int64_t>(0, std::min(parallelism, open));
    }
    sort_for_deletion(sync.active, [](const api::Object&) { return 0; }, clock_.now());
    Pods excess = surplus_indexes(sync);
    std::set<std::string_view> chosen;
    for (const auto& pod : excess) chosen.insert(pod->uid());
    for (const auto& pod : sync.active)
      if (active - static_cast<int64_t>(excess.size()) > wanted && !chosen.contains(pod->uid())) excess.push_back(pod);
    if (!excess.empty()) return remove(sync, excess);
    int64_t missing = wanted - active - (job::only_failed(sync.value) ? sync.terminating_now : 0);
    return missing > 0 ? create(sync, std::min(missing, kBurst)) : Result<void>();
  }

  // Of two pods with one index the older stays; indexes that are done or beyond the completions are not needed.
  static Pods surplus_indexes(const Sync& sync) {
    Pods out;
    if (!sync.indexed()) return out;
    std::map<int64_t, api::ObjectPtr> kept;
    for (const auto& pod : sync.active) {
      int64_t index = job::index_of(*pod);
      if (index < 0 || index >= sync.completions() || sync.done.contains(index) || sync.failed_indexes.contains(index)) {
        out.push_back(pod);
        continue;
      }
      // In order of deletion: a later one is worth more.
      auto [it, is_new] = kept.try_emplace(index, pod);
      if (!is_new) out.push_back(std::exchange(it->second, pod));
    }
    return out;
  }

  Result<void> create(Sync& sync, int64_t count) {
    SystemTime now = clock_.now();
    std::vector<int64_t> indexes;
    if (!job::has_limit_per_index(sync.value) && sync.back_off.due() > now) {
      enqueue_after(sync.key, sync.back_off.due() - now);
      return {};
    }
    if (sync.indexed()) indexes = free_indexes(sync, count);
    else indexes.assign(count, -1);
    if (indexes.empty()) return {};
    sync.active_now += static_cast<int64_t>(indexes.size());
    return control_.create_batch(sync.key, sync.value, indexes.size(), [&](size_t i) {
      return job::make_pod(sync.value, indexes[i], sync.index_failures[indexes[i]], sync.index_ignored[indexes[i]]);
    });
  }

  std::vector<int64_t> free_indexes(const Sync& sync, int64_t count) {
    std::set<int64_t> busy;
    for (const auto& pod : sync.active) busy.insert(job::index_of(*pod));
    if (job::only_failed(sync.value))
      for (const auto& pod : sync.terminating) busy.insert(job::index_of(*pod));
    std::vector<int64_t> out;
    SystemTime now = clock_.now();
    for (int64_t i = 0; i < sync.completions() && static_cast<int64_t>(out.size()) < count; ++i) {
      if (busy.contains(i) || sync.done.contains(i) || sync.failed_indexes.contains(i)) continue;
      if (auto it = sync.index_back_off.find(i); it != sync.index_back_off.end() && it->second.due() > now) {
        enqueue_after(sync.key, it->second.due() - now);
        continue;
      }
      out.push_back(i);
    }
    return out;
  }

  // --- Counting ---
  Result<void> write(Sync& sync) {
    api::ObjectPtr object = sync.object;
    json::object status = json::get_object(json::find(&sync.value, "status"));
    put_conditions(sync, status);
    put_numbers(sync, status);
    if (!sync.count_succeeded.empty() || !sync.count_failed.empty()) {
      // First their names are written down, then the finalizers go, then they become numbers: a crash in between loses
      // and doubles nothing.
      json::object& names = json::ensure_object(status, "uncountedTerminatedPods");
      for (const auto& pod : sync.count_succeeded) json::ensure_array(names, "succeeded").push_back(text(pod->uid()));
      for (const auto& pod : sync.count_failed) json::ensure_array(names, "failed").push_back(text(pod->uid()));
      json::value next(object->value());
      next.as_object()["status"] = status;
      auto written = client_.update(kJobs, object->namespace_(), object->name(), next, "status");
      if (!written) return fail(written.error());
      object = *written;
      std::lock_guard lock(mutex_);
      back_off_[sync.key] = sync.back_off;
    }
    for (const Pods* pods : {&sync.count_succeeded, &sync.count_failed, &sync.strip})
      for (const auto& pod : *pods)
        if (auto r = strip(*pod); !r) return r;
    status["uncountedTerminatedPods"] = json::object();
    if (sync.succeeded > 0 || status.contains("succeeded")) status["succeeded"] = sync.succeeded;
    if (sync.failed > 0 || status.contains("failed")) status["failed"] = sync.failed;
    bool ends = sync.target && sync.active_now == 0 && sync.terminating_now == 0;
    if (ends) put_end(sync, status);
    if (auto r = update_status(client_, kJobs, *object, json::value(std::move(status))); !r) return r;
    if (ends)
      recorder_.event(sync.value, sync.target.success() ? "Normal" : "Warning", sync.target.success() ? "Completed" : sync.target.reason,
                      sync.target.success() ? "Job completed" : sync.target.message);
    return {};
  }

  void put_end(const Sync& sync, json::object& status) {
    std::string now = format_time(clock_.now());
    json::ensure_array(status, "conditions").push_back(condition(sync.target.success() ? "Complete" : "Failed", "True", sync.target.reason, sync.target.message));
    if (sync.target.success()) status["completionTime"] = text(now);
  }

  json::object condition(std::string_view type, std::string_view state, std::string_view reason, std::string_view message) const {
    std::string now = format_time(clock_.now());
    return {{"type", text(type)}, {"status", text(state)}, {"lastProbeTime", text(now)}, {"lastTransitionTime", text(now)}, {"reason", text(reason)}, {"message", text(message)}};
  }

  void put_conditions(Sync& sync, json::object& status) {
    json::array& conditions = json::ensure_array(status, "conditions");
    bool suspended = job::is_suspended(sync.value), was = condition_is(sync.value, "Suspended");
    if (sync.target) {
      if (!condition_is(sync.value, sync.target.condition)) conditions.push_back(condition(sync.target.condition, "True", sync.target.reason, sync.target.message));
    } else if (suspended != was) {
      remove_condition(conditions, "Suspended");
      conditions.push_back(condition("Suspended", suspended ? "True" : "False", suspended ? "JobSuspended" : "JobResumed", suspended ? "Job suspended" : "Job resumed"));
      recorder_.event(sync.value, "Normal", suspended ? "Suspended" : "Resumed", suspended ? "Job suspended" : "Job resumed");
      status.erase("startTime");
    }
    if (conditions.empty()) status.erase("conditions");
    if (!suspended && !status.contains("startTime")) {
      status["startTime"] = text(format_time(clock_.now()));
      if (has(sync.value, {"spec", "activeDeadlineSeconds"}))
        enqueue_after(sync.key, std::chrono::seconds(json::get_int(sync.value, {"spec", "activeDeadlineSeconds"})));
    }
  }

  void put_numbers(const Sync& sync, json::object& status) {
    int64_t ready = std::ranges::count_if(sync.active, [](const auto& pod) { return pod_ready(*pod); });
    if (sync.active_now > 0) status["active"] = sync.active_now;
    else status.erase("active");
    status["ready"] = std::min(ready, sync.active_now);
    status["terminating"] = sync.terminating_now;
    if (!sync.indexed()) return;
    if (!sync.done.empty()) status["completedIndexes"] = text(job::format_indexes(sync.done));
    if (job::has_limit_per_index(sync.value)) status["failedIndexes"] = text(job::format_indexes(sync.failed_indexes));
  }

  // --- The finalizer ---
  // A pod whose finalizer we removed may still have it in the cache: it must not be counted again.
  bool is_stripped(const std::string& uid) {
    std::lock_guard lock(mutex_);
    return stripped_.contains(uid);
  }
  void forget_stripped(const api::Object& pod) {
    std::lock_guard lock(mutex_);
    stripped_.erase(std::string(pod.uid()));
  }

  Result<void> strip(const api::Object& pod) {
    std::string uid(pod.uid());
    if (!job::has_tracking(pod) || is_stripped(uid)) return {};
    {
      std::lock_guard lock(mutex_);
      stripped_.insert(uid);
    }
    json::array rest;
    for (const json::value& f : json::get_array(json::at(&pod.value(), {"metadata", "finalizers"})))
      if (json::get_string(&f) != job::kTracking) rest.push_back(f);
    json::object metadata{{"uid", text(uid)}, {"resourceVersion", text(std::to_string(pod.revision()))}, {"finalizers", std::move(rest)}};
    auto r = client_.patch(kPods, pod.namespace_(), pod.name(), client::PatchType::merge, json::object{{"metadata", std::move(metadata)}});
    if (r || r.error().is_not_found()) return {};
    forget_stripped(pod);
    return fail(r.error());
  }

  Result<void> release_orphan(const std::string& key) {
    api::ObjectPtr pod = pods_.get(key);
    if (!pod || !job::has_tracking(*pod)) return {};
    api::OwnerReference owner = api::controller_of(pod->value());
    if (owner.kind == "Job") {
      auto live = client_.get(kJobs, pod->namespace_(), owner.name);
      if (live && (*live)->uid() == owner.uid) return {};
      if (!live && !live.error().is_not_found()) return fail(live.error());
    }
    return strip(*pod);
  }

  Expectations expectations_;
  client::EventRecorder recorder_;
  PodControl control_;
  client::Informer& jobs_;
  client::Informer& pods_;
  std::mutex mutex_;
  std::map<std::string, BackOffRecord> back_off_;
  std::set<std::string> stripped_;
};

}  // namespace

ControllerPtr make_job_controller(Context context) { return std::make_unique<JobController>(context); }

}  // namespace kcube::controllers
