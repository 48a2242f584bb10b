#include "pkg/base/strings.h"

#include <gtest/gtest.h>

namespace kcube {
namespace {

TEST(Base64, RoundTripsEveryLength) {
  for (size_t n = 0; n < 20; ++n) {
    std::string bytes = random_bytes(n);
    EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes);
    EXPECT_EQ(base64url_decode(base64url_encode(bytes)), bytes);
  }
  EXPECT_EQ(base64_encode("any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
}

TEST(Base64, RefusesMalformedText) {
  for (const char* text : {"A", "AB", "ABC", "A===", "AB=C", "AB!=", "AB\n=", "AR=="}) EXPECT_FALSE(base64_decode(text)) << text;
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ',').size(), 3u);
  EXPECT_EQ(split("", ',').size(), 1u);
}

TEST(ParseInt, TakesOnlyWholeNumbers) {
  EXPECT_EQ(parse_int<int>("42"), 42);
  EXPECT_EQ(parse_int<int>("-1"), -1);
  EXPECT_FALSE(parse_int<int>("42x"));
  EXPECT_FALSE(parse_int<int>(""));
  EXPECT_FALSE(parse_int<uint8_t>("256"));
}

TEST(Percent, DecodesAndEncodes) {
  EXPECT_EQ(percent_decode("a%20b+c%zz", true), "a b c%zz");
  EXPECT_EQ(percent_encode("a b/c"), "a%20b%2Fc");
}

}  // namespace
}  // namespace kcube
