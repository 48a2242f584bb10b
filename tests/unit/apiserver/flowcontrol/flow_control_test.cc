#include "pkg/apiserver/flowcontrol/flow_control.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

namespace kcube::flowcontrol {
namespace {

using State = Execution::State;

// A level "l" with nominally `shares` of ten seats (catch-all has five of the shares), and a FlowSchema for everything.
class FlowControlTest : public testing::Test {
 protected:
  void use(std::string_view limited, int seats = 10) {
    flow_ = std::make_unique<FlowControl>(FlowControlOptions{seats}, clock_, [this](std::function<void()> task) { tasks_.push_back(std::move(task)); });
    auto level = json::parse(R"({"metadata":{"name":"l","uid":"level-uid"},"spec":{"type":"Limited","limited":{)" + std::string(limited) + "}}}");
    auto schema = json::parse(R"({"metadata":{"name":"s","uid":"schema-uid"},"spec":{"priorityLevelConfiguration":{"name":"l"},"matchingPrecedence":100,
      "distinguisherMethod":{"type":"ByUser"},"rules":[{"subjects":[{"kind":"User","user":{"name":"*"}}],
      "resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}]}]}})");
    auto catch_all = json::parse(R"({"metadata":{"name":"catch-all"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":0,"limitResponse":{"type":"Reject"}}}})");
    flow_->configure({*schema}, {*level, *catch_all});
  }
  void queues(int queues, int hand, int length, int seats = 10) {
    use(R"("nominalConcurrencyShares":10,"limitResponse":{"type":"Queue","queuing":{"queues":)" + std::to_string(queues) + R"(,"handSize":)" + std::to_string(hand) +
            R"(,"queueLengthLimit":)" + std::to_string(length) + "}}", seats);
  }
  Ticket begin(std::string user, int width = 1) { return begin(std::move(user), Work{.seats = width}); }
  Ticket begin(std::string user, Work work) {
    auth::Attributes a;
    a.user.name = std::move(user);
    a.verb = "get";
    a.resource = "pods";
    return flow_->begin(std::move(a), [work](int) { return work; });
  }
  // Parks it; what it comes back as is in states_.
  std::weak_ptr<Execution> park(Ticket ticket, const std::string& name, std::chrono::milliseconds wait = std::chrono::milliseconds(0)) {
    auto id = ticket.id();
    flow_->park(std::move(ticket), wait, [this, name](Ticket t) {
      states_[name] = t.state();
      order_.push_back(name);
      resumed_.push_back(std::move(t));
    });
    return id;
  }
  void run_tasks() {
    while (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }
  PriorityLevel::View level() const {
    for (auto& [name, view] : flow_->levels())
      if (name == "l") return view;
    return {};
  }

  SimulatedClock clock_;
  std::deque<std::function<void()>> tasks_;
  std::map<std::string, State> states_;
  std::vector<std::string> order_;
  std::unique_ptr<FlowControl> flow_;
  std::vector<Ticket> resumed_;   // before flow_ goes
  void TearDown() override {
    flow_->stop();
    resumed_.clear();
    std::exchange(tasks_, {}).clear();
  }
};

TEST_F(FlowControlTest, RefusesBeyondTheLimitWhereThereAreNoQueues) {
  use(R"("nominalConcurrencyShares":10,"limitResponse":{"type":"Reject"})", 2);
  Ticket a = begin("ann"), b = begin("bob"), c = begin("cid");
  EXPECT_EQ(a.state(), State::running);
  EXPECT_EQ(b.state(), State::running);
  EXPECT_EQ(c.state(), State::refused);
  EXPECT_EQ(c.schema_uid(), "schema-uid");
  EXPECT_EQ(c.level_uid(), "level-uid");
  EXPECT_EQ(c.retry_after(), 1);
  a.release();
  EXPECT_EQ(begin("cid").state(), State::running);
}

TEST_F(FlowControlTest, ParksWhatFindsNoSeatAndResumesItWhenOneIsFree) {
  queues(8, 2, 10, 1);
  Ticket a = begin("ann"), b = begin("bob");
  EXPECT_EQ(b.state(), State::waiting);
  park(std::move(b), "bob");
  run_tasks();
  EXPECT_TRUE(states_.empty());
  a.release();
  run_tasks();
  EXPECT_EQ(states_["bob"], State::running);
  EXPECT_EQ(level().executing, 1U);
  resumed_.clear();
  EXPECT_EQ(level().executing, 0U);
}

TEST_F(FlowControlTest, ResumesATicketThatGotItsSeatBeforeItWasParked) {
  queues(8, 2, 10, 1);
  Ticket a = begin("ann"), b = begin("bob");
  a.release();
  EXPECT_EQ(b.state(), State::running);
  park(std::move(b), "bob");
  run_tasks();
  EXPECT_EQ(states_["bob"], State::running);
}

TEST_F(FlowControlTest, RefusesWhenTheQueueIsFull) {
  queues(1, 1, 2, 1);
  Ticket a = begin("ann"), b = begin("ann"), c = begin("ann"), d = begin("ann");
  EXPECT_EQ(c.state(), State::waiting);
  EXPECT_EQ(d.state(), State::refused);
  EXPECT_EQ(d.execution().refusal, Refusal::queue_full);
}

TEST_F(FlowControlTest, RefusesWhatWaitedTooLong) {
  queues(8, 2, 10, 1);
  Ticket a = begin("ann");
  park(begin("bob"), "bob");
  park(begin("cid"), "cid", std::chrono::seconds(2));
  clock_.advance(std::chrono::seconds(3));
  run_tasks();
  EXPECT_EQ(states_["cid"], State::refused);
  EXPECT_FALSE(states_.contains("bob"));
  clock_.advance(std::chrono::seconds(13));
  run_tasks();
  EXPECT_EQ(states_["bob"], State::refused);
  EXPECT_EQ(level().timed_out, 2U);
  EXPECT_EQ(level().waiting, 0U);
}

TEST_F(FlowControlTest, ForgetsRequestsOfClientsThatWent) {
  queues(8, 2, 10, 1);
  Ticket a = begin("ann");
  auto id = park(begin("bob"), "bob");
  flow_->cancel(id);
  EXPECT_TRUE(id.expired());
  a.release();
  run_tasks();
  EXPECT_TRUE(states_.empty());
  EXPECT_EQ(level().cancelled, 1U);
  EXPECT_EQ(level().executing, 0U);
}

TEST_F(FlowControlTest, AFloodOfOneUserDoesNotDelayAnother) {
  queues(64, 6, 50, 1);
  Ticket first = begin("flood");
  for (int i = 0; i < 200; ++i)
    if (Ticket t = begin("flood"); t.state() == State::waiting) park(std::move(t), "flood");
  Ticket calm = begin("calm");
  ASSERT_EQ(calm.state(), State::waiting);
  park(std::move(calm), "calm");
  // One seat, a tenth of a second each.
  for (int i = 0; i < 20 && !states_.contains("calm"); ++i) {
    clock_.advance(std::chrono::milliseconds(100));
    if (i == 0) first.release();
    else resumed_.erase(resumed_.begin());
    run_tasks();
  }
  // At most one turn of each of the six queues in the flood's hand goes before.
  EXPECT_TRUE(states_.contains("calm"));
  EXPECT_LE(order_.size(), 8U);
}

TEST_F(FlowControlTest, WideRequestsTakeSeveralSeats) {
  queues(8, 2, 10, 4);
  Ticket wide = begin("ann", 3), one = begin("bob", 1), two = begin("cid", 1);
  EXPECT_EQ(wide.state(), State::running);
  EXPECT_EQ(one.state(), State::running);
  EXPECT_EQ(two.state(), State::waiting);
  EXPECT_EQ(level().seats_in_use, 4);
}

TEST_F(FlowControlTest, SeatsForWatchersAreKeptForAWhileAfterTheRequest) {
  queues(8, 2, 10, 4);
  Ticket write = begin("ann", Work{.seats = 1, .final_seats = 3, .additional_seconds = 0.05, .watchers = 30}), other = begin("bob"), waits = begin("cid");
  EXPECT_EQ(write.execution().seats, 3);
  EXPECT_EQ(waits.state(), State::waiting);
  write.release();
  EXPECT_EQ(level().seats_in_use, 4);
  EXPECT_EQ(waits.state(), State::waiting);
  clock_.advance(std::chrono::milliseconds(49));
  EXPECT_EQ(waits.state(), State::waiting);
  clock_.advance(std::chrono::milliseconds(2));
  EXPECT_EQ(waits.state(), State::running);
  EXPECT_EQ(level().seats_in_use, 2);
}

TEST_F(FlowControlTest, LingeringIsNoneOfTheExecution) {
  queues(8, 2, 10, 4);
  Ticket write = begin("ann", Work{.seats = 1, .final_seats = 2, .additional_seconds = 0.5, .watchers = 20});
  clock_.advance(std::chrono::milliseconds(100));
  write.release();
  clock_.advance(std::chrono::seconds(1));
  MetricsText out;
  flow_->write_metrics(out);
  std::string text = out.take();
  EXPECT_NE(text.find("apiserver_flowcontrol_request_execution_seconds_sum{flow_schema=\"s\",priority_level=\"l\",type=\"regular\"} 0.09999"), std::string::npos) << text;
  EXPECT_NE(text.find("apiserver_flowcontrol_watch_count_samples_sum{flow_schema=\"s\",priority_level=\"l\"} 20\n"), std::string::npos);
  EXPECT_NE(text.find("apiserver_flowcontrol_work_estimated_seats_sum{flow_schema=\"s\",priority_level=\"l\"} 2\n"), std::string::npos);
  // Nothing of the seats for 0.5 of the 1.1 seconds.
  EXPECT_NE(text.find("apiserver_flowcontrol_priority_level_seat_utilization_bucket{phase=\"executing\",priority_level=\"l\",le=\"0.4\"} 5e+08\n"), std::string::npos) << text;
}

TEST_F(FlowControlTest, WhatIsWiderThanTheLevelRunsAlone) {
  queues(8, 2, 10, 2);
  Ticket wide = begin("ann", 5);
  EXPECT_EQ(wide.state(), State::running);
  Ticket next = begin("bob");
  EXPECT_EQ(next.state(), State::waiting);
}

TEST_F(FlowControlTest, LendsSeatsToALevelThatNeedsThem) {
  flow_ = std::make_unique<FlowControl>(FlowControlOptions{600}, clock_, [this](std::function<void()> task) { tasks_.push_back(std::move(task)); });
  flow_->configure(suggested_objects(), suggested_objects().size() > 6 ? std::vector<json::value>(suggested_objects().begin(), suggested_objects().begin() + 6) : suggested_objects());
  std::vector<Ticket> tickets;
  auto ask = [&] {
    auth::Attributes a;
    a.user = {"ann" + std::to_string(tickets.size()), "", {"system:authenticated"}, {}};
    a.verb = "get";
    a.resource = "pods";
    tickets.push_back(flow_->begin(std::move(a), nullptr));
    return tickets.back().state();
  };
  for (int i = 0; i < 49; ++i) EXPECT_EQ(ask(), State::running);
  for (int i = 0; i < 60; ++i) EXPECT_EQ(ask(), State::waiting);
  clock_.advance(std::chrono::seconds(11));
  for (Ticket& ticket : tickets) EXPECT_EQ(ticket.state(), State::running);
}

TEST_F(FlowControlTest, SchemasWithoutTheirLevelAreAsIfTheyWereNotThere) {
  queues(8, 2, 10);
  auto dangling = json::parse(R"({"metadata":{"name":"d"},"spec":{"priorityLevelConfiguration":{"name":"nowhere"},"matchingPrecedence":1,
    "rules":[{"subjects":[{"kind":"User","user":{"name":"*"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true}]}]}})");
  flow_->configure({*dangling}, {});
  Ticket t = begin("ann");
  EXPECT_EQ(t.execution().schema->name, "catch-all");
}

TEST_F(FlowControlTest, ALevelThatIsTakenAwayFinishesWhatItHas) {
  queues(8, 2, 10, 1);
  Ticket a = begin("ann");
  park(begin("bob"), "bob");
  flow_->configure({}, {});
  EXPECT_EQ(begin("cid").execution().schema->name, "catch-all");
  a.release();
  run_tasks();
  EXPECT_EQ(states_["bob"], State::running);
}

TEST_F(FlowControlTest, AsksToStayAwayLongerWhileManyAreRefused) {
  use(R"("nominalConcurrencyShares":10,"limitResponse":{"type":"Reject"})", 1);
  Ticket a = begin("ann");
  int longest = 0;
  for (int second = 0; second < 30; ++second) {
    for (int i = 0; i < 200; ++i) longest = std::max(longest, begin("bob").retry_after());
    clock_.advance(std::chrono::seconds(1));
  }
  EXPECT_GE(longest, 8);
  EXPECT_LE(longest, 32);
}

TEST_F(FlowControlTest, StoppingDropsWhatWaits) {
  queues(8, 2, 10, 1);
  Ticket a = begin("ann");
  auto id = park(begin("bob"), "bob");
  flow_->stop();
  run_tasks();
  EXPECT_TRUE(id.expired());
  EXPECT_TRUE(states_.empty());
}

TEST_F(FlowControlTest, ShowsWhatWaits) {
  queues(1, 1, 2, 1);
  Ticket a = begin("ann"), b = begin("bob");
  EXPECT_NE(flow_->dump_requests(true).find("bob"), std::string::npos);
  EXPECT_NE(flow_->dump_queues().find("l,                 0,     1,"), std::string::npos) << flow_->dump_queues();
  EXPECT_NE(flow_->dump_priority_levels().find("\nl,"), std::string::npos);
  MetricsText text;
  flow_->write_metrics(text);
  EXPECT_NE(text.take().find("apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"s\",priority_level=\"l\"} 1\n"), std::string::npos);
}

}  // namespace
}  // namespace kcube::flowcontrol
