#include "pkg/base/clock.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

namespace kcube {
namespace {

using namespace std::chrono_literals;

TEST(SimulatedClock, RunsTimersInOrderOfDeadline) {
  SimulatedClock clock;
  std::vector<int> order;
  clock.schedule(20ms, [&] { order.push_back(2); });
  clock.schedule(10ms, [&] {
    order.push_back(1);
    clock.schedule(5ms, [&] { order.push_back(3); });
  });
  auto cancelled = clock.schedule(12ms, [&] { order.push_back(9); });
  EXPECT_TRUE(clock.cancel(cancelled));
  clock.advance(1s);
  EXPECT_EQ(order, (std::vector<int>{1, 3, 2}));
}

TEST(RealClock, RunsATimer) {
  RealClock clock;
  std::promise<void> ran;
  clock.schedule(1ms, [&] { ran.set_value(); });
  ran.get_future().wait();
}

TEST(Time, ReadsWhatItWrites) {
  SystemTime time;
  ASSERT_TRUE(parse_time("2026-02-28T23:59:58Z", time));
  EXPECT_EQ(format_time(time), "2026-02-28T23:59:58Z");
  ASSERT_TRUE(parse_time("2026-02-28T23:59:58.123456+02:00", time));
  EXPECT_EQ(format_micro_time(time), "2026-02-28T21:59:58.123456Z");
}

TEST(Time, KeepsYearsThatSystemTimeCannotHold) {
  CalendarTime time;
  for (const char* text : {"0001-01-01T00:00:02.000001Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.500000Z"}) {
    ASSERT_TRUE(parse_calendar_time(text, time)) << text;
    EXPECT_EQ(format_calendar_time(time, 6), text);
  }
  SystemTime nearest;
  ASSERT_TRUE(parse_time("0001-01-01T00:00:00Z", nearest));
  EXPECT_EQ(nearest, SystemTime::min());
  ASSERT_TRUE(parse_time("9999-01-01T00:00:00Z", nearest));
  EXPECT_EQ(nearest, SystemTime::max());
}

TEST(Time, RefusesWhatIsNoTime) {
  SystemTime time;
  for (const char* text : {"", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00",
                           "2026-01-01T00:00:00Zx", "2026-01-01T00:00:00.Z", "2026-01-01 00:00:00Z"})
    EXPECT_FALSE(parse_time(text, time)) << text;
}

}  // namespace
}  // namespace kcube
