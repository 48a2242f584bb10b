#include "pkg/apiserver/machinery/cbor.h"

#include <gtest/gtest.h>

namespace kcube::machinery {
namespace {

std::string bytes(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}
std::string hex(std::string_view text) {
  std::string out;
  for (unsigned char c : text) out += std::string(1, "0123456789abcdef"[c >> 4]) + "0123456789abcdef"[c & 15];
  return out;
}
std::string decoded(std::string_view text) {
  auto v = decode_cbor(bytes(text));
  return v ? json::serialize(*v) : v.error().message();
}

TEST(Cbor, ReadsWhatTheRealServerReads) {
  EXPECT_EQ(decoded("d9d9f7a1416105"), R"({"a":5})");
  EXPECT_EQ(decoded("a161615f41614162ff"), R"({"a":"ab"})");
  EXPECT_EQ(decoded("bf41619f0120ffff"), R"({"a":[1,-1]})");
  EXPECT_EQ(decoded("d643010203"), R"("AQID")");
  EXPECT_EQ(decoded("d743010203"), R"("010203")");
  EXPECT_EQ(decoded("c11a5e0be100"), R"("2020-01-01T00:00:00Z")");
  EXPECT_EQ(decoded("83f4f5f6"), "[false,true,null]");
  EXPECT_EQ(decoded("82f93e00fa3fc00000"), "[1.5E0,1.5E0]");
  EXPECT_EQ(decoded("3b7fffffffffffffff"), "-9223372036854775808");
  EXPECT_EQ(decoded("41ff"), "\"\xef\xbf\xbd\"");
}

TEST(Cbor, RefusesInTheRealServersWords) {
  EXPECT_EQ(decoded(""), "EOF");
  EXPECT_EQ(decoded("a1"), "unexpected EOF");
  EXPECT_EQ(decoded("a0a0"), "cbor: 1 bytes of extraneous data starting at index 1");
  EXPECT_EQ(decoded("a2416101616102"), "cbor: found duplicate map key \"a\" at map element index 1");
  EXPECT_EQ(decoded("a10102"), "cbor: cannot unmarshal positive integer into Go value of type string");
  EXPECT_EQ(decoded("61ff"), "cbor: invalid UTF-8 string");
  EXPECT_EQ(decoded("f97e00"), "cbor: data item of cbor type primitives is not accepted by protocol: floating-point NaN");
  EXPECT_EQ(decoded("f7"), "cbor: data item of cbor type primitives is not accepted by protocol: simple value 23 is not recognized");
  EXPECT_EQ(decoded("c249010000000000000000"), "cbor: data item of cbor type tag is not accepted by protocol: bignum");
  EXPECT_EQ(decoded("1bffffffffffffffff"), "cbor: cannot unmarshal positive integer into Go value of type int64 (18446744073709551615 overflows Go's int64)");
  EXPECT_EQ(decoded("9bffffffffffffffff"), "cbor: array length 18446744073709551615 is too large, it would cause integer overflow");
  EXPECT_EQ(decoded("5f6161ff"), "cbor: wrong element type UTF-8 text string for indefinite-length byte string");
  EXPECT_EQ(decoded("ff"), "cbor: unexpected \"break\" code");
  EXPECT_EQ(decoded("1c"), "cbor: invalid additional information 28 for type positive integer");
}

TEST(Cbor, RefusesWhatIsNestedTooDeeply) {
  EXPECT_TRUE(decode_cbor(std::string(500, '\x81') + '\xf6'));
  for (char head : {'\x81', '\x9f', '\xd8'}) {
    std::string deep;
    for (int i = 0; i < 10000; ++i) deep += head == '\xd8' ? std::string("\xd8\x20") : std::string(1, head);
    auto v = decode_cbor(deep + '\xf6');
    ASSERT_FALSE(v);
    EXPECT_EQ(v.error().message(), "cbor: exceeded max nested level 512");
  }
}

TEST(Cbor, ReadsAgainWhatWasAsDeepAsMayBe) {
  std::string deep = std::string(513, '\x81');   // the innermost has the length 0
  deep.back() = '\x80';
  auto v = decode_cbor(deep);
  ASSERT_TRUE(v);
  auto again = decode_cbor(encode_cbor(*v));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, *v);
  EXPECT_FALSE(decode_cbor('\x81' + deep));
}

TEST(Cbor, WritesTheShortestForm) {
  auto encoded = [](std::string_view text) { return hex(encode_cbor(*json::parse(text))).substr(6); };
  EXPECT_EQ(encoded(R"({"a":1})"), "a1416101");
  EXPECT_EQ(encoded("[23,24,255,256,65536,4294967296,-1,-24,-25]"), "8917181818ff1901001a000100001b0000000100000000203738" "18");
  EXPECT_EQ(encoded("[1.5,0.1,1e300,100000.0,5.960464477539063e-08,-0.0]"), "86f93e00fb3fb999999999999afb7e37e43c8800759cfa47c35000f90001f98000");
  EXPECT_EQ(encoded("[true,false,null,\"\",[],{}]"), "86f5f4f64080a0");
}

TEST(Cbor, WritesBytesUnderTheirTag) {
  const api::Type& secret = *api::Schema::builtin().find_kind("", "v1", "Secret");
  EXPECT_EQ(hex(encode_cbor(*json::parse(R"({"data":{"a":"AQID"},"type":"AQID"})"), &secret)).substr(6), "a24464617461a14161d64301020344747970654441514944");
}

TEST(Cbor, MakesListsAndEvents) {
  CborList list;
  list.add(*json::parse(R"({"kind":"ConfigMap","apiVersion":"v1","data":{}})"), nullptr, false);
  auto value = decode_cbor(list.finish("v1", "ConfigMapList", {{"resourceVersion", "7"}}));
  ASSERT_TRUE(value);
  EXPECT_EQ(json::serialize(*value), R"({"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"data":{}}]})");
  auto event = decode_cbor(cbor_watch_event("ADDED", encode_cbor(json::object{{"kind", "ConfigMap"}})));
  ASSERT_TRUE(event);
  EXPECT_EQ(json::serialize(*event), R"({"type":"ADDED","object":{"kind":"ConfigMap"}})");
}

}  // namespace
}  // namespace kcube::machinery
