// Token buckets for events.
#include "pkg/apiserver/admission/event_rates.h"

#include <gtest/gtest.h>

#include "pkg/base/clock.h"

namespace kcube::apiserver {
namespace {

TEST(EventRates, EveryNamespaceHasABucketOfItsOwn) {
  SimulatedClock clock;
  auto rates = EventRates::create(*json::parse(R"({"limits":[{"type":"Namespace","qps":1,"burst":2},{"type":"Server","qps":100,"burst":5}]})"), clock);
  ASSERT_TRUE(rates);
  auto take = [&](const std::string& ns) { return (*rates)->take([&](const std::string& type) { return type == "Namespace" ? ns : std::string(); }); };
  EXPECT_TRUE(take("a"));
  EXPECT_TRUE(take("a"));
  auto third = take("a");
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code(), 429);
  EXPECT_EQ(third.error().message(), "limit reached on type Namespace for key a");
  EXPECT_TRUE(take("b"));
  EXPECT_TRUE(take("b"));
  EXPECT_EQ(take("b").error().message(), "[limit reached on type Namespace for key b, limit reached on type Server for key ]");
  clock.advance(std::chrono::seconds(1));
  EXPECT_TRUE(take("a"));
  EXPECT_FALSE(take("a"));
}

TEST(EventRates, LimitsHaveToMakeSense) {
  SimulatedClock clock;
  auto problem = [&](const char* text) {
    auto made = EventRates::create(*json::parse(text), clock);
    return made ? "" : made.error().message();
  };
  EXPECT_NE(problem("{}"), "");
  EXPECT_NE(problem(R"({"limits":[{"type":"Moon","qps":1,"burst":1}]})"), "");
  EXPECT_NE(problem(R"({"limits":[{"type":"User","qps":0,"burst":1}]})"), "");
  EXPECT_EQ(problem(R"({"limits":[{"type":"User","qps":1,"burst":1}]})"), "");
}

}  // namespace
}  // namespace kcube::apiserver
