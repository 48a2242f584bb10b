#include "pkg/base/protobuf_wire.h"

#include <gtest/gtest.h>

#include <bit>

namespace kcube::protobuf {
namespace {

TEST(Protobuf, ReadsWhatItWrote) {
  std::string message;
  put_number(message, 1, 300);
  put_bytes(message, 2, std::string(200, 'x'));
  put_double(message, 3, -1.5);
  put_bytes(message, 5000, "");
  put_number(message, 4, static_cast<uint64_t>(-1));
  Reader reader(message);
  Field field;
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.number, 1u);
  EXPECT_EQ(field.value, 300u);
  EXPECT_EQ(field.bytes, "");
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.bytes, std::string(200, 'x'));
  EXPECT_EQ(field.value, 0u);
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(std::bit_cast<double>(field.value), -1.5);
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.number, 5000u);
  EXPECT_EQ(field.wire, Wire::bytes);
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.value, static_cast<uint64_t>(-1));
  EXPECT_FALSE(reader.next(field));
  EXPECT_TRUE(reader.ok());
}

// As protoc has them: {1: 150}, {2: "testing"}, and a float.
TEST(Protobuf, ReadsWhatOthersWrote) {
  Field field;
  EXPECT_TRUE(Reader("\x08\x96\x01").next(field));
  EXPECT_EQ(field.value, 150u);
  EXPECT_TRUE(Reader("\x12\x07testing").next(field));
  EXPECT_EQ(field.bytes, "testing");
  EXPECT_TRUE(Reader(std::string_view("\x1d\0\0\xc0\x3f", 5)).next(field));
  EXPECT_EQ(std::bit_cast<float>(static_cast<uint32_t>(field.value)), 1.5f);
}

TEST(Protobuf, EndsAtTheFirstMalformedField) {
  using namespace std::string_literals;
  for (const std::string& message : {"\x08"s, "\x08\x80"s, "\x12\x05" "abcd"s, "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s, "\x0d\0\0\0"s, "\x09\0"s, "\0\1"s, "\x0b"s, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"s,
                                     "\x80\x80\x80\x80\x80\x80\1\1"s}) {
    Reader reader(message);
    Field field;
    EXPECT_FALSE(reader.next(field));
    EXPECT_FALSE(reader.ok());
    EXPECT_FALSE(reader.next(field));
  }
}

}  // namespace
}  // namespace kcube::protobuf
