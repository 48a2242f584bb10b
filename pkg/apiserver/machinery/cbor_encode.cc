#include <bit>
#include <cmath>

#include "pkg/apiserver/machinery/cbor.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::Shape;
using api::Type;

enum Major : uint8_t { kUnsigned, kNegative, kBytes, kText, kArray, kMap, kTag, kSimple };
constexpr uint64_t kSelfDescribed = 55799, kExpectBase64 = 22;

void big_endian(std::string& out, uint64_t v, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(v >> shift);
}

void head(std::string& out, Major major, uint64_t n) {
  auto first = [&](uint64_t info) { out += static_cast<char>(major << 5 | info); };
  if (n < 24) return first(n);
  int size = n <= 0xff ? 0 : n <= 0xffff ? 1 : n <= 0xffffffff ? 2 : 3;
  first(24 + static_cast<uint64_t>(size));
  big_endian(out, n, 1 << size);
}

void bytes(std::string& out, std::string_view text) {
  head(out, kBytes, text.size());
  out += text;
}

void integer(std::string& out, int64_t v) {
  if (v >= 0) head(out, kUnsigned, static_cast<uint64_t>(v));
  else head(out, kNegative, ~static_cast<uint64_t>(v));
}

// A float32's bits as a half, when that loses nothing.
std::optional<uint16_t> half(float f) {
  uint32_t bits = std::bit_cast<uint32_t>(f), sign = bits >> 16 & 0x8000, mantissa = bits & 0x7fffff;
  int exponent = static_cast<int>(bits >> 23 & 0xff) - 127;
  if (exponent == -127 && mantissa == 0) return static_cast<uint16_t>(sign);
  if (exponent >= -14 && exponent <= 15 && (mantissa & 0x1fff) == 0)
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(exponent + 15) << 10 | mantissa >> 13);
  // Subnormal halves: multiples of 2^-24.
  if (exponent < -14 && exponent >= -24) {
    uint32_t whole = mantissa | 0x800000;
    int shift = -exponent - 1;
    if ((whole & ((uint32_t{1} << shift) - 1)) == 0) return static_cast<uint16_t>(sign | whole >> shift);
  }
  return std::nullopt;
}

// The shortest form that is the same number.
void number(std::string& out, double d) {
  float single = std::abs(d) <= 3.4028234663852886e38 ? static_cast<float>(d) : 0;
  if (static_cast<double>(single) != d) {
    out += '\xfb';
    return big_endian(out, std::bit_cast<uint64_t>(d), 8);
  }
  if (auto h = half(single)) {
    out += '\xf9';
    return big_endian(out, *h, 2);
  }
  out += '\xfa';
  big_endian(out, std::bit_cast<uint32_t>(single), 4);
}

void append(std::string& out, const json::value& v, const Type* type);

void append_one(std::string& out, const json::value& v, const Field& field) {
  if (field.kind == FieldKind::number && v.is_number()) return number(out, v.to_number<double>());
  if (field.kind != FieldKind::bytes || !v.is_string()) return append(out, v, field.kind == FieldKind::message ? field.type : nullptr);
  auto decoded = base64_decode(json::view(v.get_string()));
  if (!decoded) return bytes(out, json::view(v.get_string()));
  head(out, kTag, kExpectBase64);
  bytes(out, *decoded);
}

void append_member(std::string& out, const json::value& v, const Field& field) {
  if (field.shape == Shape::list && v.is_array()) {
    head(out, kArray, v.get_array().size());
    for (const json::value& item : v.get_array()) append_one(out, item, field);
  } else if (field.shape == Shape::map && v.is_object()) {
    head(out, kMap, v.get_object().size());
    for (const auto& m : v.get_object()) {
      bytes(out, json::view(m.key()));
      append_one(out, m.value(), field);
    }
  } else if (field.shape == Shape::single) {
    append_one(out, v, field);
  } else {
    append(out, v, nullptr);
  }
}

void append(std::string& out, const json::value& v, const Type* type) {
  switch (v.kind()) {
    case json::kind::null: out += '\xf6'; return;
    case json::kind::bool_: out += v.get_bool() ? '\xf5' : '\xf4'; return;
    case json::kind::int64: return integer(out, v.get_int64());
    case json::kind::uint64: return head(out, kUnsigned, v.get_uint64());
    case json::kind::double_: return number(out, v.get_double());
    case json::kind::string: return bytes(out, json::view(v.get_string()));
    case json::kind::array:
      head(out, kArray, v.get_array().size());
      for (const json::value& item : v.get_array()) append(out, item, nullptr);
      return;
    case json::kind::object: break;
  }
  head(out, kMap, v.get_object().size());
  for (const auto& m : v.get_object()) {
    bytes(out, json::view(m.key()));
    const Field* field = type == nullptr ? nullptr : type->field(json::view(m.key()));
    if (field != nullptr) append_member(out, m.value(), *field);
    else append(out, m.value(), nullptr);
  }
}

}  // namespace

void append_cbor(std::string& out, const json::value& value, const Type* type) { append(out, value, type); }

std::string encode_cbor(const json::value& value, const Type* type) {
  std::string out;
  head(out, kTag, kSelfDescribed);
  append(out, value, type);
  return out;
}

void CborList::add(const json::value& object, const Type* type, bool with_kind) {
  ++count_;
  if (with_kind || !object.is_object()) return append(items_, object, type);
  json::value copy = object;
  copy.get_object().stable_erase("kind");
  copy.get_object().stable_erase("apiVersion");
  append(items_, copy, type);
}

std::string CborList::finish(std::string_view api_version, std::string_view kind, const json::object& metadata) const {
  std::string out;
  out.reserve(items_.size() + 256);
  head(out, kTag, kSelfDescribed);
  head(out, kMap, 4);
  bytes(out, "kind");
  bytes(out, kind);
  bytes(out, "apiVersion");
  bytes(out, api_version);
  bytes(out, "metadata");
  append(out, json::value(metadata), nullptr);
  bytes(out, "items");
  head(out, kArray, count_);
  return out + items_;
}

std::string cbor_watch_event(std::string_view type, std::string_view object) {
  std::string out;
  out.reserve(object.size() + 32);
  head(out, kTag, kSelfDescribed);
  head(out, kMap, 2);
  bytes(out, "type");
  bytes(out, type);
  bytes(out, "object");
  return out.append(object);
}

}  // namespace kcube::machinery
