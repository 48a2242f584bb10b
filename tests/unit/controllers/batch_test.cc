#include "pkg/controllers/cron_schedule.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/job_rules.h"
#include "tests/unit/controllers/fake_client.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

std::string job(std::string_view spec) {
  return R"({"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j","namespace":"default"},"spec":{)" + std::string(spec) +
         R"(,"selector":{"matchLabels":{"batch.kubernetes.io/job-name":"j"}},"template":{"metadata":{"labels":{"batch.kubernetes.io/job-name":"j"}},
         "spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"busybox"}]}}}})";
}

class Jobs : public testing::Test {
 protected:
  World world;
  void SetUp() override { world.run(make_job_controller(world.context()), make_ttl_after_finished_controller(world.context())); }
  json::value status() { return *json::find(&world.get(kJobs, "default", "j")->value(), "status"); }
  bool is(std::string_view type) { return condition_is(world.get(kJobs, "default", "j")->value(), type); }
  std::string reason(std::string_view type) { return string_at(*find_condition(world.get(kJobs, "default", "j")->value(), type), {"reason"}); }
  std::vector<api::ObjectPtr> active() {
    auto pods = world.list(kPods);
    std::erase_if(pods, [](const auto& p) { return !json::get_string(p->value(), {"status", "phase"}).empty() || p->deleting(); });
    return pods;
  }
  void end(const api::ObjectPtr& pod, const std::string& phase, int code = 1) {
    world.status(kPods, "default", pod->name(), R"({"phase":")" + phase + R"(","containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":)" +
                                                    std::to_string(phase == "Failed" ? code : 0) + R"(,"finishedAt":")" + format_time(world.clock.now()) + R"("}}}]})");
    world.settle();
  }
};

TEST_F(Jobs, RunsUntilEnoughPodsSucceeded) {
  world.make(kJobs, job(R"("completions":3,"parallelism":2,"backoffLimit":6)"));
  world.settle();
  ASSERT_EQ(active().size(), 2u);
  EXPECT_TRUE(job::has_tracking(*active()[0]));
  for (int i = 0; i < 3; ++i) end(active()[0], "Succeeded");
  EXPECT_TRUE(is("Complete"));
  EXPECT_EQ(reason("Complete"), "CompletionsReached");
  EXPECT_EQ(json::get_int(status(), {"succeeded"}), 3);
  EXPECT_FALSE(json::get_string(status(), {"completionTime"}).empty());
  for (const auto& pod : world.list(kPods)) EXPECT_FALSE(job::has_tracking(*pod));
}

TEST_F(Jobs, RetriesWithDelayAndGivesUp) {
  world.make(kJobs, job(R"("completions":1,"parallelism":1,"backoffLimit":1)"));
  world.settle();
  end(active()[0], "Failed");
  EXPECT_EQ(json::get_int(status(), {"failed"}), 1);
  EXPECT_TRUE(active().empty());
  world.advance(std::chrono::seconds(11));
  ASSERT_EQ(active().size(), 1u);
  end(active()[0], "Failed");
  EXPECT_TRUE(is("Failed"));
  EXPECT_EQ(reason("Failed"), "BackoffLimitExceeded");
  EXPECT_EQ(json::get_int(status(), {"failed"}), 2);
}

TEST_F(Jobs, IndexedPodsKnowTheirIndex) {
  world.make(kJobs, job(R"("completions":3,"parallelism":3,"completionMode":"Indexed","backoffLimit":6)"));
  world.settle();
  ASSERT_EQ(active().size(), 3u);
  std::set<int64_t> indexes;
  for (const auto& pod : active()) {
    indexes.insert(job::index_of(*pod));
    EXPECT_EQ(string_at(pod->value(), {"spec", "hostname"}), "j-" + std::to_string(job::index_of(*pod)));
    EXPECT_EQ(json::get_string(json::get_array(json::find(&json::get_array(json::at(&pod->value(), {"spec", "containers"}))[0], "env"))[0], {"name"}), "JOB_COMPLETION_INDEX");
  }
  EXPECT_EQ(indexes, (std::set<int64_t>{0, 1, 2}));
  for (const auto& pod : active())
    if (job::index_of(*pod) != 1) end(pod, "Succeeded");
  EXPECT_EQ(json::get_string(status(), {"completedIndexes"}), "0,2");
  end(active()[0], "Succeeded");
  EXPECT_EQ(json::get_string(status(), {"completedIndexes"}), "0-2");
  EXPECT_TRUE(is("Complete"));
}

TEST_F(Jobs, FailurePolicyIgnoresOrFails) {
  world.make(kJobs, job(R"("completions":1,"parallelism":1,"backoffLimit":0,"podFailurePolicy":{"rules":[
    {"action":"Ignore","onExitCodes":{"operator":"In","values":[7]}},{"action":"FailJob","onExitCodes":{"operator":"In","values":[42]}}]})"));
  world.settle();
  end(active()[0], "Failed", 7);
  ASSERT_EQ(active().size(), 1u);
  EXPECT_EQ(json::get_int(status(), {"failed"}), 0);
  end(active()[0], "Failed", 42);
  EXPECT_EQ(reason("Failed"), "PodFailurePolicy");
  EXPECT_NE(string_at(*find_condition(world.get(kJobs, "default", "j")->value(), "Failed"), {"message"}).find("failed with exit code 42 matching FailJob rule at index 1"),
            std::string::npos);
}

TEST_F(Jobs, PerIndexLimitLetsOtherIndexesFinish) {
  world.make(kJobs, job(R"("completions":2,"parallelism":2,"completionMode":"Indexed","backoffLimitPerIndex":1)"));
  world.settle();
  for (int i = 0; i < 2; ++i) {
    for (const auto& pod : active())
      if (job::index_of(*pod) == 0) end(pod, "Failed");
    world.advance(std::chrono::minutes(2));
  }
  EXPECT_EQ(json::get_string(status(), {"failedIndexes"}), "0");
  EXPECT_FALSE(is("Failed"));
  ASSERT_EQ(active().size(), 1u);
  end(active()[0], "Succeeded");
  EXPECT_EQ(reason("Failed"), "FailedIndexes");
}

TEST_F(Jobs, SuccessPolicyEndsEarly) {
  world.make(kJobs, job(R"("completions":3,"parallelism":3,"completionMode":"Indexed","backoffLimit":6,"successPolicy":{"rules":[{"succeededIndexes":"0"}]})"));
  world.settle();
  for (const auto& pod : active())
    if (job::index_of(*pod) == 0) end(pod, "Succeeded");
  world.settle();
  EXPECT_TRUE(active().empty());
  EXPECT_EQ(reason("Complete"), "SuccessPolicy");
}

TEST_F(Jobs, SuspendStopsPodsAndResumeStartsThem) {
  world.make(kJobs, job(R"("completions":1,"parallelism":1,"backoffLimit":6)"));
  world.settle();
  world.patch(kJobs, "default", "j", R"({"spec":{"suspend":true}})");
  world.settle();
  EXPECT_TRUE(world.list(kPods).empty());
  EXPECT_EQ(reason("Suspended"), "JobSuspended");
  EXPECT_EQ(json::get_int(status(), {"failed"}), 0);
  world.patch(kJobs, "default", "j", R"({"spec":{"suspend":false}})");
  world.settle();
  EXPECT_EQ(active().size(), 1u);
  EXPECT_EQ(reason("Suspended"), "JobResumed");
}

TEST_F(Jobs, DeadlineEndsTheJobAndTtlRemovesIt) {
  world.make(kJobs, job(R"("completions":1,"parallelism":1,"backoffLimit":6,"activeDeadlineSeconds":5,"ttlSecondsAfterFinished":10)"));
  world.settle();
  world.advance(std::chrono::seconds(6));
  EXPECT_EQ(reason("Failed"), "DeadlineExceeded");
  EXPECT_TRUE(active().empty());
  world.advance(std::chrono::seconds(11));
  auto gone = world.get(kJobs, "default", "j");
  EXPECT_TRUE(!gone || gone->deleting());
}

TEST_F(Jobs, PodsOfADeletedJobAreLetGo) {
  world.make(kJobs, job(R"("completions":1,"parallelism":1,"backoffLimit":6)"));
  world.settle();
  std::string name(active()[0]->name());
  (void)world.client.remove(kJobs, "default", "j", {});
  (void)world.client.remove(kPods, "default", name, {});
  world.settle();
  EXPECT_TRUE(world.list(kPods).empty());
}

TEST(Indexes, AreWrittenShort) {
  EXPECT_EQ(job::format_indexes({0, 2, 3, 5, 6, 7}), "0,2,3,5-7");
  EXPECT_EQ(job::parse_indexes("0,2,3,5-7"), (job::Indexes{0, 2, 3, 5, 6, 7}));
}

SystemTime at(const char* text) {
  SystemTime t;
  EXPECT_TRUE(parse_time(text, t));
  return t;
}
std::string next(const char* schedule, const char* after, const char* zone = "UTC") {
  auto s = CronSchedule::parse(schedule);
  auto z = TimeZone::load(zone);
  if (!s || !z) return "error";
  auto t = s->next(at(after), **z);
  return t ? format_time(*t) : "never";
}

TEST(Cron, FindsTheNextTime) {
  EXPECT_EQ(next("*/5 * * * *", "2026-01-02T15:04:05Z"), "2026-01-02T15:05:00Z");
  EXPECT_EQ(next("0 0 * * *", "2026-01-02T00:00:00Z"), "2026-01-03T00:00:00Z");
  EXPECT_EQ(next("30 4 1,15 * 5", "2026-01-02T05:00:00Z"), "2026-01-09T04:30:00Z");
  EXPECT_EQ(next("0 0 29 feb *", "2026-01-01T00:00:00Z"), "2028-02-29T00:00:00Z");
  EXPECT_EQ(next("0 0 31 2 *", "2026-01-01T00:00:00Z"), "never");
  EXPECT_EQ(next("@hourly", "2026-01-01T00:30:00Z"), "2026-01-01T01:00:00Z");
  EXPECT_EQ(next("@every 1h30m", "2026-01-01T00:00:00Z"), "2026-01-01T01:30:00Z");
  EXPECT_EQ(next("61 * * * *", "2026-01-01T00:00:00Z"), "error");
}

TEST(Cron, KnowsTimeZones) {
  if (!TimeZone::load("Europe/Berlin")) GTEST_SKIP() << "no zone database here";
  EXPECT_EQ(next("0 9 * * *", "2026-01-01T00:00:00Z", "Europe/Berlin"), "2026-01-01T08:00:00Z");
  EXPECT_EQ(next("0 9 * * *", "2026-07-01T00:00:00Z", "Europe/Berlin"), "2026-07-01T07:00:00Z");
  EXPECT_EQ(next("0 9 * * *", "2045-07-01T00:00:00Z", "Europe/Berlin"), "2045-07-01T07:00:00Z");
  EXPECT_EQ(next("0 9 * * *", "2026-07-01T00:00:00Z", "../etc/passwd"), "error");
}

TEST(CronJobs, StartJobsAndKeepAHistory) {
  World world;
  world.run(make_cron_job_controller(world.context()), make_job_controller(world.context()));
  auto cron = [](std::string_view policy) {
    return R"({"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"c","namespace":"default"},"spec":{"schedule":"* * * * *","concurrencyPolicy":")" +
           std::string(policy) + R"(","successfulJobsHistoryLimit":1,"failedJobsHistoryLimit":1,"jobTemplate":{"spec":{"completions":1,"parallelism":1,"backoffLimit":0,
           "selector":{"matchLabels":{"x":"y"}},"template":{"metadata":{"labels":{"x":"y"}},"spec":{"restartPolicy":"Never","containers":[]}}}}}})";
  };
  world.make(kCronJobs, cron("Forbid"));
  world.settle();
  EXPECT_TRUE(world.list(kJobs).empty());
  world.advance(std::chrono::seconds(61));
  ASSERT_EQ(world.list(kJobs).size(), 1u);
  world.advance(std::chrono::seconds(60));
  ASSERT_EQ(world.list(kJobs).size(), 1u) << "the first one still runs";
  EXPECT_EQ(json::get_array(json::at(&world.get(kCronJobs, "default", "c")->value(), {"status", "active"})).size(), 1u);
  for (int i = 0; i < 3; ++i) {
    for (const auto& pod : world.list(kPods)) world.status(kPods, "default", pod->name(), R"({"phase":"Succeeded"})");
    world.settle();
    world.advance(std::chrono::seconds(60));
  }
  size_t complete = 0;
  for (const auto& j : world.list(kJobs)) complete += condition_is(j->value(), "Complete");
  EXPECT_EQ(complete, 1u);
  EXPECT_FALSE(string_at(world.get(kCronJobs, "default", "c")->value(), {"status", "lastSuccessfulTime"}).empty());
}

}  // namespace
}  // namespace kcube::controllers
