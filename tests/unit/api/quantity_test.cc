#include "pkg/api/quantity.h"

#include <gtest/gtest.h>

namespace kcube::api {
namespace {

TEST(Quantity, KeepsValuesExactly) {
  struct Case {
    const char* text;
    int64_t value, milli;
    const char* canonical;
  };
  for (const Case& c : {Case{"0", 0, 0, "0"}, {"100m", 1, 100, "100m"}, {"1.5", 2, 1500, "1500m"}, {"2", 2, 2000, "2"}, {"1Gi", 1 << 30, (1ll << 30) * 1000, "1Gi"},
                        {"1.5Gi", 1610612736, 1610612736000, "1536Mi"}, {"1e3", 1000, 1000000, "1e3"}, {"1k", 1000, 1000000, "1k"}, {"0.5Ki", 512, 512000, "512"},
                        {"1000m", 1, 1000, "1"}, {"-5", -5, -5000, "-5"}, {".5", 1, 500, "500m"}, {"5n", 1, 1, "5n"}, {"128Mi", 134217728, 134217728000, "128Mi"}}) {
    auto q = Quantity::parse(c.text);
    ASSERT_TRUE(q) << c.text;
    EXPECT_EQ(q->value(), c.value) << c.text;
    EXPECT_EQ(q->milli_value(), c.milli) << c.text;
    EXPECT_EQ(q->to_string(), c.canonical) << c.text;
  }
}

TEST(Quantity, RefusesMalformedText) {
  for (const char* text : {"", "x", "1x", "1 Gi", "Gi", "--1", "1e", "1.2.3", "1KI"}) EXPECT_FALSE(Quantity::parse(text)) << text;
}

TEST(Quantity, AddsAndCompares) {
  Quantity sum = *Quantity::parse("100m");
  sum += *Quantity::parse("1");
  EXPECT_EQ(sum.to_string(), "1100m");
  EXPECT_LT(*Quantity::parse("1Mi"), *Quantity::parse("2M"));
  EXPECT_EQ(Quantity::parse("99999999999999999999E")->value(), INT64_MAX);
}

}  // namespace
}  // namespace kcube::api
