#include "pkg/client/event_correlator.h"

#include <gtest/gtest.h>

namespace kcube::client {
namespace {

TEST(EventCorrelator, KnowsWhatIsSaidAgain) {
  EventCorrelator correlator;
  SteadyTime now{};
  auto first = correlator.judge("web", "web|Warning|BackOff", "restarting", now);
  auto again = correlator.judge("web", "web|Warning|BackOff", "restarting", now);
  auto other = correlator.judge("web", "web|Warning|BackOff", "pulling", now);
  EXPECT_EQ("restarting", first.message);
  EXPECT_EQ(first.key, again.key);
  EXPECT_NE(first.key, other.key);
  EXPECT_FALSE(first.dropped || again.dropped || other.dropped);
}

TEST(EventCorrelator, CombinesEventsThatDifferInTheirMessageAlone) {
  EventCorrelator correlator;
  SteadyTime now{};
  std::string key;
  for (int i = 0; i < 15; ++i) {
    auto verdict = correlator.judge("job", "job|Warning|FailedCreate", "pod " + std::to_string(i), now);
    EXPECT_EQ(i < 10 ? "pod " + std::to_string(i) : "(combined from similar events): pod " + std::to_string(i), verdict.message);
    if (i == 10) key = verdict.key;
    if (i > 10) {
      EXPECT_EQ(key, verdict.key);
    }
  }
  now += std::chrono::minutes(11);
  EXPECT_EQ("later", correlator.judge("job", "job|Warning|FailedCreate", "later", now).message);
}

TEST(EventCorrelator, DropsWhatIsTooMuchAboutOneObject) {
  EventCorrelator correlator;
  SteadyTime now{};
  int said = 0;
  for (int i = 0; i < 100; ++i) said += correlator.judge("web", "web|Warning|BackOff", "restarting", now).dropped ? 0 : 1;
  EXPECT_EQ(25, said);
  EXPECT_FALSE(correlator.judge("other", "other|Warning|BackOff", "restarting", now).dropped);
  now += std::chrono::seconds(301);
  EXPECT_FALSE(correlator.judge("web", "web|Warning|BackOff", "restarting", now).dropped);
  EXPECT_TRUE(correlator.judge("web", "web|Warning|BackOff", "restarting", now).dropped);
}

}  // namespace
}  // namespace kcube::client
