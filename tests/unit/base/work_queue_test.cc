#include "pkg/base/work_queue.h"

#include <gtest/gtest.h>

#include "pkg/base/executor.h"

namespace kcube {
namespace {

using namespace std::chrono_literals;

TEST(WorkQueue, HandsOutAKeyOnceHoweverOftenAdded) {
  SimulatedClock clock;
  WorkQueue queue(clock);
  queue.add("a");
  queue.add("a");
  EXPECT_EQ(queue.try_take(), "a");
  EXPECT_EQ(queue.try_take(), std::nullopt);
}

TEST(WorkQueue, HandsOutAgainAKeyAddedWhileWorkedOn) {
  SimulatedClock clock;
  WorkQueue queue(clock);
  queue.add("a");
  ASSERT_EQ(queue.try_take(), "a");
  queue.add("a");
  EXPECT_EQ(queue.try_take(), std::nullopt);
  queue.done("a");
  EXPECT_EQ(queue.try_take(), "a");
}

TEST(WorkQueue, BacksOffUntilForgotten) {
  SimulatedClock clock;
  WorkQueue queue(clock, {10ms, 1s});
  for (auto wait : {10ms, 20ms, 40ms}) {
    queue.add_rate_limited("a");
    clock.advance(wait - 1ms);
    EXPECT_EQ(queue.try_take(), std::nullopt);
    clock.advance(1ms);
    ASSERT_EQ(queue.try_take(), "a");
    queue.done("a");
  }
  queue.forget("a");
  queue.add_rate_limited("a");
  clock.advance(10ms);
  EXPECT_EQ(queue.try_take(), "a");
}

TEST(WorkQueue, AnEarlierDelayReplacesALaterOne) {
  SimulatedClock clock;
  WorkQueue queue(clock);
  queue.add_after("a", 10s);
  queue.add_after("a", 1s);
  clock.advance(1s);
  EXPECT_EQ(queue.try_take(), "a");
  queue.done("a");
  clock.advance(20s);
  EXPECT_EQ(queue.try_take(), std::nullopt);
}

TEST(WorkQueue, ShutDownWakesWaiters) {
  WorkQueue queue(RealClock::instance());
  Executor executor({.name = "test", .max_threads = 1});
  executor.submit([&] { EXPECT_EQ(queue.take(), std::nullopt); });
  queue.shut_down();
  executor.stop();
}

}  // namespace
}  // namespace kcube
