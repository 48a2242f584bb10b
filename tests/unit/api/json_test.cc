#include "pkg/api/json.h"
#include "pkg/api/json_depth.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace kcube::json {
namespace {

std::string refusal(std::string_view text) {
  auto v = parse(text);
  return v ? "parsed: " + serialize(*v) : v.error().message();
}

TEST(Json, RefusesInTheWordsOfGo) {
  EXPECT_EQ(refusal(""), "unexpected end of JSON input");
  EXPECT_EQ(refusal(R"({"a":)"), "unexpected end of JSON input");
  EXPECT_EQ(refusal(R"({"a":1,})"), "invalid character '}' looking for beginning of object key string");
  EXPECT_EQ(refusal("{'a':1}"), "invalid character '\\'' looking for beginning of object key string");
  EXPECT_EQ(refusal(R"({"a":NaN})"), "invalid character 'N' looking for beginning of value");
  EXPECT_EQ(refusal(R"({"a":01})"), "invalid character '1' after object key:value pair");
  EXPECT_EQ(refusal("\"a\nb\""), "invalid character '\\n' in string literal");
  EXPECT_EQ(refusal(R"("\x")"), "invalid character 'x' in string escape code");
  EXPECT_EQ(refusal(R"({} x)"), "invalid character 'x' after top-level value");
  EXPECT_EQ(refusal("nul"), "unexpected end of JSON input");
  EXPECT_EQ(refusal("trux"), "invalid character 'x' in literal true (expecting 'e')");
  EXPECT_EQ(refusal("\xef\xbb\xbf{}"), "invalid character 'ï' looking for beginning of value");
}

TEST(Json, RefusesWhatIsNestedTooDeeply) {
  for (size_t depth : {600UL, 10000UL, 1000000UL}) {
    EXPECT_EQ(refusal(std::string(depth, '[')), "invalid character '[' exceeded max depth");
    std::string objects;
    for (size_t i = 0; i < depth; ++i) objects += "{\"a\":";
    EXPECT_EQ(refusal(objects), "invalid character '{' exceeded max depth");
  }
}

TEST(Json, TakesTextThatIsNoUnicodeAsGoDoes) {
  EXPECT_EQ(serialize(*parse("\"x\xffy\xc3\"")), "\"x\xef\xbf\xbdy\xef\xbf\xbd\"");
  EXPECT_EQ(serialize(*parse(R"(["\ud800","\udc00x\ud800\u0041","\ud83d\ude00","\\ud800"])")), "[\"\xef\xbf\xbd\",\"\xef\xbf\xbdx\xef\xbf\xbd" "A\",\"\xf0\x9f\x98\x80\",\"\\\\ud800\"]");
}

TEST(Json, DoublesAreReadAsTheyWereWritten) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    double d = std::uniform_real_distribution<double>(0, 1000)(random);
    EXPECT_EQ(parse("[" + serialize(value(d)) + "]")->get_array()[0].get_double(), d);
  }
  EXPECT_EQ(parse("0.30000000000000004")->get_double(), 0.30000000000000004);
  EXPECT_EQ(parse("[184467223372036854775808]")->get_array()[0].get_double(), 184467223372036854775808.0);
  EXPECT_EQ(parse(" -7 ")->get_int64(), -7);
}

TEST(Json, RefusesWhatADoubleCannotHold) {
  EXPECT_EQ(refusal(R"({"a":1e400})"), "json: cannot unmarshal number 1e400 into Go value of type float64");
  EXPECT_EQ(refusal("[-1E+999]"), "json: cannot unmarshal number -1E+999 into Go value of type float64");
  EXPECT_EQ(parse("1e-400")->get_double(), 0.0);
}

TEST(Json, NumbersBeyondIntegersSaturate) {
  EXPECT_EQ(get_int(&*parse("[1e300]")->get_array().begin()), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(get_int(&*parse("[-1e300]")->get_array().begin()), std::numeric_limits<int64_t>::min());
}

TEST(Json, BodiesNestTenThousandDeepAndNoDeeper) {
  auto nested = [](int depth) { return std::string(static_cast<size_t>(depth), '[') + std::string(static_cast<size_t>(depth), ']'); };
  auto deep = parse_deep(nested(kMostDepth));
  ASSERT_TRUE(deep);
  EXPECT_TRUE(is_deeper(*deep, kUsualDepth));
  EXPECT_EQ(serialize(*deep).size(), 2U * kMostDepth);
  EXPECT_EQ(parse_deep(nested(kMostDepth + 1)).error().message(), "invalid character '[' exceeded max depth");
  EXPECT_FALSE(is_deeper(*parse(nested(kUsualDepth)), kUsualDepth));
}

}  // namespace
}  // namespace kcube::json
