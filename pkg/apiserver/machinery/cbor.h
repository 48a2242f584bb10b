// Bodies in CBOR, as Kubernetes writes and reads them (KEP-4222): read into the same JSON values that everything else works
// on, and written from them.
//
// Text is in byte strings, both as keys and as values; bytes, which are base64 in JSON, are byte strings under tag 22.
// A document begins with tag 55799. Source: RFC 8949, RFC 8742; limits and messages checked against the real server.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

constexpr std::string_view kCborType = "application/cbor";
constexpr std::string_view kCborSequenceType = "application/cbor-seq";

// 400 when `body` is not exactly one well-formed item: cut short, followed by something, nested deeper than 512, or with
// what the protocol does not have (NaN, infinity, big numbers).
Result<void> check_cbor(std::string_view body);

// The document's value. 400 as check_cbor(), and for keys that are no strings or there twice, integers beyond 64 bits with
// sign, text that is no UTF-8. Tags say how bytes become text (21, 22, 23) or are times (0, 1); others are passed over.
Result<json::value> decode_cbor(std::string_view body);

// `value` as one item without the leading tag. Members that are bytes by `type` are decoded; null where no type is known.
void append_cbor(std::string& out, const json::value& value, const api::Type* type);
// A whole document.
std::string encode_cbor(const json::value& value, const api::Type* type = nullptr);

// A list of objects, made item by item.
class CborList {
 public:
  void add(const json::value& object, const api::Type* type, bool with_kind);
  std::string finish(std::string_view api_version, std::string_view kind, const json::object& metadata) const;

 private:
  size_t count_ = 0;
  std::string items_;
};

// One event of a watch, around a document.
std::string cbor_watch_event(std::string_view type, std::string_view object);

}  // namespace kcube::machinery
