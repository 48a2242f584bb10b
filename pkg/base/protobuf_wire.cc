#include "pkg/base/protobuf_wire.h"

#include <bit>
#include <limits>

namespace kcube::protobuf {
namespace {

void put_varint(std::string& out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out += static_cast<char>(v | 0x80);
  out += static_cast<char>(v);
}

void put_tag(std::string& out, uint64_t field, Wire wire) { put_varint(out, field << 3 | static_cast<uint64_t>(wire)); }

}  // namespace

bool Reader::next(Field& field) {
  if (rest_.empty() || !ok_) return false;
  const uint64_t tag = varint(), number = tag >> 3;
  if (number == 0 || number > std::numeric_limits<uint32_t>::max()) ok_ = false;
  field = {static_cast<uint32_t>(number), static_cast<Wire>(tag & 7), 0, {}};
  switch (field.wire) {
    case Wire::varint: field.value = varint(); break;
    case Wire::fixed64: field.value = fixed(8); break;
    case Wire::fixed32: field.value = fixed(4); break;
    case Wire::bytes: {
      const uint64_t size = varint();
      if (size > rest_.size()) ok_ = false;
      if (!ok_) break;
      field.bytes = rest_.substr(0, size);
      rest_.remove_prefix(size);
      break;
    }
    default: ok_ = false;
  }
  return ok_;
}

uint64_t Reader::varint() {
  uint64_t v = 0;
  for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(rest_[0]);
    rest_.remove_prefix(1);
    v |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return v;
  }
  ok_ = false;
  return 0;
}

uint64_t Reader::fixed(size_t size) {
  if (rest_.size() < size) {
    ok_ = false;
    return 0;
  }
  uint64_t v = 0;
  for (size_t i = size; i > 0; --i) v = v << 8 | static_cast<unsigned char>(rest_[i - 1]);
  rest_.remove_prefix(size);
  return v;
}

void put_number(std::string& out, uint64_t field, uint64_t value) {
  put_tag(out, field, Wire::varint);
  put_varint(out, value);
}

void put_bytes(std::string& out, uint64_t field, std::string_view bytes) {
  put_tag(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

void put_double(std::string& out, uint64_t field, double value) {
  put_tag(out, field, Wire::fixed64);
  auto bits = std::bit_cast<uint64_t>(value);
  for (int i = 0; i < 8; ++i, bits >>= 8) out += static_cast<char>(bits);
}

}  // namespace kcube::protobuf
