#include "pkg/base/semver.h"

#include <gtest/gtest.h>

namespace kcube {
namespace {

Semver version(std::string_view text) {
  std::string error;
  auto v = parse_semver(text, error);
  EXPECT_TRUE(v) << text << ": " << error;
  return v.value_or(Semver{});
}

// The example of semver.org 2.0.0, 11.
TEST(Semver, IsOrderedByPrecedence) {
  const char* ascending[] = {"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "2.0.0", "2.1.0", "2.1.1"};
  for (size_t i = 0; i + 1 < std::size(ascending); ++i) {
    EXPECT_LT(compare(version(ascending[i]), version(ascending[i + 1])), 0) << ascending[i];
    EXPECT_GT(compare(version(ascending[i + 1]), version(ascending[i])), 0) << ascending[i];
  }
  EXPECT_EQ(compare(version("1.0.0+a"), version("1.0.0+b")), 0);
}

TEST(Semver, HasThreeNumbersWithoutLeadingZeros) {
  for (const char* text : {"", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.x", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2.3+", "1.2.3+a!", "-1.2.3"}) {
    std::string error;
    EXPECT_FALSE(parse_semver(text, error)) << text;
    EXPECT_FALSE(error.empty()) << text;
    EXPECT_FALSE(is_semver(text)) << text;
  }
}

TEST(Semver, MayBeLargerThanNumbersHere) {
  std::string error;
  EXPECT_FALSE(parse_semver("99999999999999999999.0.0", error));
  EXPECT_TRUE(is_semver("99999999999999999999.0.0"));
  EXPECT_FALSE(is_semver("99999999999999999999.x.0"));
}

}  // namespace
}  // namespace kcube
