#include "pkg/apiserver/flowcontrol/limits.h"

#include <gtest/gtest.h>

namespace kcube::flowcontrol {
namespace {

std::vector<PriorityLevelSpec> builtin_levels() {
  std::vector<PriorityLevelSpec> out;
  for (const auto* list : {&mandatory_objects(), &suggested_objects()})
    for (const json::value& object : *list)
      if (json::get_string(object, {"kind"}) == "PriorityLevelConfiguration") out.push_back(PriorityLevelSpec::parse(object));
  return out;
}

// What kube-apiserver 1.36 shows in apiserver_flowcontrol_{nominal,lower,upper}_limit_seats.
TEST(Limits, AreThoseOfAFreshServer) {
  auto levels = builtin_levels();
  std::vector<const PriorityLevelSpec*> pointers;
  for (const auto& level : levels) pointers.push_back(&level);
  auto limits = nominal_limits(600, pointers);
  std::map<std::string, SeatLimits> by_name;
  for (size_t i = 0; i < levels.size(); ++i) by_name[levels[i].name] = limits[i];
  EXPECT_EQ(by_name["catch-all"], (SeatLimits{13, 13, 613}));
  EXPECT_EQ(by_name["exempt"], (SeatLimits{0, 0, 600}));
  EXPECT_EQ(by_name["global-default"], (SeatLimits{49, 24, 649}));
  EXPECT_EQ(by_name["leader-election"], (SeatLimits{25, 25, 625}));
  EXPECT_EQ(by_name["node-high"], (SeatLimits{98, 73, 698}));
  EXPECT_EQ(by_name["system"], (SeatLimits{74, 50, 674}));
  EXPECT_EQ(by_name["workload-high"], (SeatLimits{98, 49, 698}));
  EXPECT_EQ(by_name["workload-low"], (SeatLimits{245, 24, 845}));
}

TEST(Limits, BorrowingCanBeBounded) {
  PriorityLevelSpec bounded{.name = "a", .nominal_shares = 1, .borrowing_limit_percent = 50}, other{.name = "b", .nominal_shares = 1};
  const PriorityLevelSpec* levels[] = {&bounded, &other};
  EXPECT_EQ(nominal_limits(100, levels)[0].upper, 75);
}

TEST(Shares, GoToTheLevelThatNeedsThem) {
  Claim busy{{50, 25, 150}, {80, 80, 0, 80}}, calm{{50, 25, 150}, {}};
  double fraction = 0;
  auto shares = share_seats(100, std::vector<Claim>{busy, calm}, &fraction);
  EXPECT_EQ(shares[0].seats, 75);
  EXPECT_EQ(shares[1].seats, 25);
  EXPECT_NEAR(fraction, 75.0 / 80, 0.01);
}

TEST(Shares, AreFairBetweenTwoThatBothWantAll) {
  Claim one{{50, 0, 150}, {500, 500, 0, 500}};
  auto shares = share_seats(100, std::vector<Claim>{one, one}, nullptr);
  EXPECT_EQ(shares[0].seats, 50);
  EXPECT_EQ(shares[1].seats, 50);
}

TEST(Shares, NeverGoBelowWhatALevelKeepsOrAboveWhatItMayBorrow) {
  Claim greedy{{50, 50, 60}, {500, 500, 0, 500}}, calm{{50, 40, 150}, {}};
  auto shares = share_seats(200, std::vector<Claim>{greedy, calm}, nullptr);
  EXPECT_EQ(shares[0].seats, 60);
  EXPECT_GE(shares[1].seats, 40);
}

TEST(DemandMeter, AveragesOverTimeAndForgetsSlowly) {
  DemandMeter meter;
  (void)meter.end_period(100);
  meter.set(100, 10);
  meter.set(105, 0);
  Demand seen = meter.end_period(110);
  EXPECT_DOUBLE_EQ(seen.high, 10);
  EXPECT_DOUBLE_EQ(seen.average, 5);
  EXPECT_DOUBLE_EQ(seen.deviation, 5);
  EXPECT_DOUBLE_EQ(seen.smoothed, 10);
  Demand later = meter.end_period(120);
  EXPECT_DOUBLE_EQ(later.high, 0);
  EXPECT_NEAR(later.smoothed, 9.77, 0.001);
}

}  // namespace
}  // namespace kcube::flowcontrol
