// CronJobs: a Job at each time of the schedule.
#include <algorithm>
#include <limits>
#include <set>

#include "pkg/controllers/cron_schedule.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kCronJobs;
using client::resources::kJobs;
using Jobs = std::vector<api::ObjectPtr>;

constexpr int kTooManyMissed = 100;
// A little after the minute, so that the clock has surely passed it.
constexpr auto kSlack = std::chrono::milliseconds(100);

bool finished(const json::value& job) { return condition_is(job, "Complete") || condition_is(job, "Failed"); }

class CronJobController final : public Controller {
 public:
  explicit CronJobController(Context context)
      : Controller(context, "cronjob"), recorder_(context.client, context.clock, "cronjob-controller"), crons_(follow_own(kCronJobs)),
        jobs_(follow_owned(kJobs, "CronJob")) {
    index_by_controller(jobs_);
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr cron = crons_.get(key);
    if (!cron) return {};
    Jobs children = controlled_by(jobs_, cron->uid());
    json::object status = json::get_object(json::find(&cron->value(), "status"));
    follow_active(*cron, children, status);
    if (auto r = trim_history(*cron, children); !r) return r;
    Result<void> ran;
    if (!cron->deleting() && !json::get_bool(cron->value(), {"spec", "suspend"})) ran = run_due(*cron, status);
    auto written = update_status(client_, kCronJobs, *cron, json::value(std::move(status)));
    return ran ? written : ran;
  }

  // status.active is the list of jobs that have not ended.
  void follow_active(const api::Object& cron, const Jobs& children, json::object& status) {
    json::array active;
    std::set<std::string> known;
    for (const json::value& reference : json::get_array(status.if_contains("active"))) {
      std::string uid = string_at(reference, {"uid"}), name = string_at(reference, {"name"});
      auto child = std::ranges::find_if(children, [&](const auto& j) { return j->uid() == uid; });
      if (child == children.end()) {
        // One that we have just made may not be in the cache yet.
        auto live = client_.get(kJobs, cron.namespace_(), name);
        if (live && (*live)->uid() == uid) active.push_back(reference);
        else recorder_.event(cron.value(), "Normal", "MissingJob", "Active job went missing: " + name);
        known.insert(uid);
        continue;
      }
      known.insert(uid);
      if (!finished((*child)->value())) {
        active.push_back(reference);
        continue;
      }
      std::string condition = condition_is((*child)->value(), "Complete") ? "Complete" : "Failed";
      recorder_.event(cron.value(), "Normal", "SawCompletedJob", "Saw completed job: " + name + ", condition: " + condition);
    }
    SystemTime last = time_at(json::value(status), {"lastSuccessfulTime"});
    for (const auto& child : children) {
      last = std::max(last, condition_is(child->value(), "Complete") ? time_at(child->value(), {"status", "completionTime"}) : SystemTime{});
      if (finished(child->value()) || known.contains(std::string(child->uid())) || lists(cron, *child)) continue;
      recorder_.event(cron.value(), "Warning", "UnexpectedJob", "Saw a job that the controller did not create or forgot: " + std::string(child->name()));
    }
    if (last != SystemTime{}) status["lastSuccessfulTime"] = text(format_time(last));
    if (active.empty()) status.erase("active");
    else status["active"] = std::move(active);
  }

  // The server knows of it, only our cache does not yet.
  bool lists(const api::Object& cron, const api::Object& job) {
    auto live = client_.get(kCronJobs, cron.namespace_(), cron.name());
    return live && std::ranges::any_of(json::get_array(json::at(&(*live)->value(), {"status", "active"})),
                                       [&](const json::value& r) { return string_at(r, {"uid"}) == job.uid(); });
  }

  static json::object reference_to(const api::Object& job) {
    return {{"kind", "Job"}, {"apiVersion", "batch/v1"}, {"namespace", text(job.namespace_())}, {"name", text(job.name())}, {"uid", text(job.uid())},
            {"resourceVersion", text(std::to_string(job.revision()))}};
  }

  Result<void> trim_history(const api::Object& cron, const Jobs& children) {
    for (auto [type, limit_name, usual] : {std::tuple("Complete", "successfulJobsHistoryLimit", 3), {"Failed", "failedJobsHistoryLimit", 1}}) {
      Jobs ended;
      for (const auto& child : children)
        if (condition_is(child->value(), type) && !child->deleting()) ended.push_back(child);
      size_t limit = static_cast<size_t>(std::max<int64_t>(0, json::get_int(cron.value(), {"spec", limit_name}, usual)));
      std::ranges::sort(ended, {}, [](const auto& j) { return std::pair(time_at(j->value(), {"status", "startTime"}), j->name()); });
      for (size_t i = 0; i + limit < ended.size(); ++i)
        if (auto r = remove(cron, ended[i]->namespace_(), ended[i]->name()); !r) return r;
    }
    return {};
  }

  Result<void> remove(const api::Object& cron, std::string_view ns, std::string_view name) {
    auto r = client_.remove(kJobs, ns, name, {.propagation = "Background"});
    if (r) recorder_.event(cron.value(), "Normal", "SuccessfulDelete", "Deleted job " + std::string(name));
    else if (!r.error().is_not_found()) {
      recorder_.event(cron.value(), "Warning", "FailedDelete", "Deleted job: " + r.error().message());
      return r;
    }
    return {};
  }

  // Starts the latest run that is due, and comes back at the next one.
  Result<void> run_due(const api::Object& cron, json::object& status) {
    const json::value& value = cron.value();
    auto schedule = CronSchedule::parse(string_at(value, {"spec", "schedule"}));
    if (!schedule) {
      recorder_.event(value, "Warning", "UnparseableSchedule", schedule.error().message());
      return {};
    }
    auto zone = TimeZone::load(string_at(value, {"spec", "timeZone"}));
    if (!zone) {
      recorder_.event(value, "Warning", "UnknownTimeZone", "invalid timeZone: " + zone.error().message());
      return {};
    }
    SystemTime now = clock_.now();
    if (auto next = schedule->next(now, **zone)) enqueue_after(cron.key(), *next - now + kSlack);
    auto due = latest_due(cron, *schedule, **zone, json::value(status), now);
    if (!due) return {};
    if (has(value, {"spec", "startingDeadlineSeconds"}) && *due + std::chrono::seconds(json::get_int(value, {"spec", "startingDeadlineSeconds"})) < now) {
      recorder_.event(value, "Warning", "MissSchedule", "Missed scheduled time to start a job: " + format_time(*due));
      return {};
    }
    std::string policy = string_at(value, {"spec", "concurrencyPolicy"});
    json::array active = json::get_array(status.if_contains("active"));
    if (policy == "Forbid" && !active.empty()) {
      recorder_.event(value, "Normal", "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid");
      return {};
    }
    if (policy == "Replace") {
      for (const json::value& reference : active)
        if (auto r = remove(cron, cron.namespace_(), json::get_string(reference, {"name"})); !r) return r;
      status.erase("active");
    }
    return start(cron, *due, **zone, status);
  }

  std::optional<SystemTime> latest_due(const api::Object& cron, const CronSchedule& schedule, const TimeZone& zone, const json::value& status, SystemTime now) {
    SystemTime from = std::max(creation_time(cron.value()), time_at(status, {"lastScheduleTime"}));
    if (has(cron.value(), {"spec", "startingDeadlineSeconds"}))
      from = std::max(from, now - std::chrono::seconds(json::get_int(cron.value(), {"spec", "startingDeadlineSeconds"})));
    std::optional<SystemTime> latest;
    int missed = 0;
    for (auto t = schedule.next(from, zone); t && *t <= now; t = schedule.next(*t, zone)) {
      latest = t;
      if (++missed != kTooManyMissed + 1) continue;
      recorder_.event(cron.value(), "Warning", "TooManyMissedTimes",
                      "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
      // Years of every minute are not worth counting: the last few will do.
      from = std::max(*t, now - std::chrono::hours(24 * 366));
      t = from;
    }
    return latest;
  }

  Result<void> start(const api::Object& cron, SystemTime due, const TimeZone&, json::object& status) {
    const json::value& value = cron.value();
    int64_t minutes = std::chrono::duration_cast<std::chrono::minutes>(due.time_since_epoch()).count();
    std::string name = std::string(cron.name()) + "-" + std::to_string(minutes);
    json::object metadata{{"name", text(name)}, {"namespace", text(cron.namespace_())}, {"ownerReferences", json::array{api::controller_reference(value)}}};
    for (const char* member : {"labels", "annotations"})
      if (has(value, {"spec", "jobTemplate", "metadata", member})) metadata[member] = *json::at(&value, {"spec", "jobTemplate", "metadata", member});
    json::ensure_object(metadata, "annotations")["batch.kubernetes.io/cronjob-scheduled-timestamp"] = text(format_time(due));
    json::object job{{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"metadata", std::move(metadata)}};
    if (const json::value* spec = json::at(&value, {"spec", "jobTemplate", "spec"})) job["spec"] = *spec;
    auto made = client_.create(kJobs, cron.namespace_(), job);
    if (!made && made.error().reason() == "AlreadyExists") {
      made = client_.get(kJobs, cron.namespace_(), name);
      if (!made || api::controller_of((*made)->value()).uid != cron.uid()) return {};
    } else if (!made) {
      for (const Cause& cause : made.error().details().causes)
        if (cause.reason == "NamespaceTerminating") return {};
      recorder_.event(value, "Warning", "FailedCreate", "Error creating job: " + made.error().message());
      return fail(made.error());
    } else {
      recorder_.event(value, "Normal", "SuccessfulCreate", "Created job " + name);
    }
    if (!finished((*made)->value())) {
      json::array& active = json::ensure_array(status, "active");
      bool listed = std::ranges::any_of(active, [&](const json::value& r) { return string_at(r, {"uid"}) == (*made)->uid(); });
      if (!listed) active.push_back(reference_to(**made));
    }
    status["lastScheduleTime"] = text(format_time(due));
    return {};
  }

  client::EventRecorder recorder_;
  client::Informer& crons_;
  client::Informer& jobs_;
};

}  // namespace

ControllerPtr make_cron_job_controller(Context context) { return std::make_unique<CronJobController>(context); }

}  // namespace kcube::controllers
