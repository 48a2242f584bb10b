// Protobuf as it goes over the wire: fields with a number and a wire type, for those who write and read messages by hand.
// Source: the protocol buffers encoding.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kcube::protobuf {

enum class Wire { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// One field of a message as it stands in the bytes.
struct Field {
  uint32_t number = 0;
  Wire wire = Wire::varint;
  uint64_t value = 0;        // of varint, fixed64 (a double's bits too) and fixed32; 0 of bytes
  std::string_view bytes;    // of bytes, into the message; else empty
};

// Reads the fields of one message in order, those inside of none.
class Reader {
 public:
  explicit Reader(std::string_view message) : rest_(message) {}
  // False at the end, and for good at the first malformed field.
  bool next(Field& field);
  // Whether all was well formed so far.
  bool ok() const { return ok_; }

 private:
  uint64_t varint();
  uint64_t fixed(size_t size);
  std::string_view rest_;
  bool ok_ = true;
};

// Append one field; what is empty or zero is written as well.
void put_number(std::string& out, uint64_t field, uint64_t value);
void put_bytes(std::string& out, uint64_t field, std::string_view bytes);
void put_double(std::string& out, uint64_t field, double value);

}  // namespace kcube::protobuf
