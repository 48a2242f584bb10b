#include "pkg/base/metrics.h"

#include <gtest/gtest.h>

namespace kcube {
namespace {

TEST(Metrics, NumbersAreAsGoPrintsThem) {
  EXPECT_EQ(metric_number(0), "0");
  EXPECT_EQ(metric_number(5), "5");
  EXPECT_EQ(metric_number(0.025), "0.025");
  EXPECT_EQ(metric_number(999999), "999999");
  EXPECT_EQ(metric_number(1e6), "1e+06");
  EXPECT_EQ(metric_number(2.72613376e8), "2.72613376e+08");
  EXPECT_EQ(metric_number(2.2e-5), "2.2e-05");
}

TEST(Metrics, HistogramsAreCumulative) {
  static constexpr double kBounds[] = {0.5, 1};
  Histogram histogram(kBounds);
  for (double v : {0.5, 0.75, 1.0, 3.0}) histogram.observe(v);
  MetricsText text;
  text.family("h", "histogram", "What it is.");
  text.histogram({{"verb", "G\"ET"}}, histogram);
  EXPECT_EQ(text.take(),
            "# HELP h What it is.\n# TYPE h histogram\nh_bucket{verb=\"G\\\"ET\",le=\"0.5\"} 1\nh_bucket{verb=\"G\\\"ET\",le=\"1\"} 3\n"
            "h_bucket{verb=\"G\\\"ET\",le=\"+Inf\"} 4\nh_sum{verb=\"G\\\"ET\"} 5.25\nh_count{verb=\"G\\\"ET\"} 4\n");
}

}  // namespace
}  // namespace kcube
