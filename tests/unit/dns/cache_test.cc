#include "pkg/dns/cache.h"

#include <gtest/gtest.h>

namespace kcube::dns {
namespace {

using namespace std::chrono_literals;

MessagePtr answer(uint32_t ttl) {
  auto m = std::make_shared<Message>();
  m->answers = {{*to_name("example.org"), type::kA, kClassIn, ttl, std::string(4, '\1')}};
  return m;
}

MessagePtr denial(uint32_t ttl, uint32_t minimum) {
  auto m = std::make_shared<Message>();
  m->code = rcode::kNxDomain;
  m->authorities = {
      {*to_name("org"), type::kSoa, kClassIn, ttl, std::string(2, '\0') + std::string(16, '\0') + u32_bytes(minimum)}};
  return m;
}

TEST(Cache, KeepsAnswersAsLongAsTheySay) {
  SimulatedClock clock;
  Cache cache(clock, 10, 10000);
  cache.put("a", answer(30), 100);
  clock.advance(10s);
  ASSERT_TRUE(cache.get("a"));
  EXPECT_EQ(cache.get("a")->answers[0].ttl, 20u);
  clock.advance(20s);
  EXPECT_FALSE(cache.get("a"));
  cache.put("zero", answer(0), 100);
  EXPECT_FALSE(cache.get("zero"));
}

TEST(Cache, KeepsDenialsByTheZonesWord) {
  SimulatedClock clock;
  Cache cache(clock, 10, 10000);
  cache.put("no", denial(100, 7), 100);
  EXPECT_TRUE(cache.get("no"));
  clock.advance(8s);
  EXPECT_FALSE(cache.get("no"));
  auto silent = std::make_shared<Message>();
  silent->code = rcode::kNxDomain;
  cache.put("silent", silent, 100);
  EXPECT_FALSE(cache.get("silent"));
  auto failure = std::make_shared<Message>(*answer(30));
  failure->code = rcode::kServFail;
  cache.put("failure", failure, 100);
  EXPECT_FALSE(cache.get("failure"));
}

TEST(Cache, IsBoundedAndForgetsTheLeastUsed) {
  SimulatedClock clock;
  Cache cache(clock, 3, 1000);
  for (const char* key : {"a", "b", "c"}) cache.put(key, answer(30), 100);
  EXPECT_TRUE(cache.get("a"));
  cache.put("d", answer(30), 100);
  EXPECT_TRUE(cache.get("a"));
  EXPECT_FALSE(cache.get("b"));
  cache.put("big", answer(30), 900);
  EXPECT_TRUE(cache.get("big"));
  EXPECT_LE(cache.size(), 2u);
  cache.put("huge", answer(30), 2000);
  EXPECT_FALSE(cache.get("huge"));
}

}  // namespace
}  // namespace kcube::dns
