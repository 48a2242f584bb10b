#include "pkg/apiserver/machinery/protobuf.h"

#include <bit>
#include <cmath>

#include "pkg/base/clock.h"
#include "pkg/base/protobuf_wire.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::Shape;
using api::Type;
using protobuf::Reader;
using protobuf::Wire;
using Wired = protobuf::Field;   // as it stands in the bytes, whatever api::Field it is

constexpr std::string_view kMagic("k8s\0", 4);
constexpr int kMaxDepth = 200;
// Of years 0000 to 9999, which RFC 3339 can write; and of the first second of year 1.
constexpr int64_t kFirstTime = -62167219200, kLastTime = 253402300799, kZeroTime = -62135596800;

// What is no UTF-8 would be no JSON either.
std::string clean(std::string_view s) { return is_utf8(s) ? std::string(s) : made_utf8(s); }
json::value text(std::string_view s) { return is_utf8(s) ? json::value(json::key(s)) : json::value(json::key(made_utf8(s))); }

class Decoder {
 public:
  bool message(const Type& type, std::string_view bytes, uint64_t prefix, json::object& out, int depth) {
    if (depth > kMaxDepth) return false;
    Reader reader(bytes);
    Wired raw;
    while (reader.next(raw)) {
      if (raw.number > 0xffff) continue;
      uint64_t path = prefix << 16 | raw.number;
      if (const Field* field = find(type, path)) {
        if (!member(*field, raw, out, depth)) return false;
      } else if (raw.wire == Wire::bytes && has_beneath(type, path)) {
        if (!message(type, raw.bytes, path, out, depth + 1)) return false;
      }
    }
    return reader.ok();
  }

 private:
  static const Field* find(const Type& type, uint64_t path) {
    for (const Field& f : type.fields)
      if (f.proto == path) return &f;
    return nullptr;
  }
  static bool has_beneath(const Type& type, uint64_t path) {
    for (const Field& f : type.fields)
      if (f.proto >> 16 == path || f.proto >> 32 == path) return true;
    return false;
  }

  bool member(const Field& field, const Wired& raw, json::object& out, int depth) {
    json::value& slot = out[json::key(field.name)];
    switch (field.shape) {
      case Shape::single:
        if (!one(field, raw, slot, depth)) return false;
        // Go writes members that nobody set as zeros; JSON leaves them out.
        if (!field.pointer && (!field.required || field.omitempty) && is_zero(slot)) out.erase(json::key(field.name));
        return true;
      case Shape::list:
        if (!slot.is_array()) slot = json::array();
        return element(field, raw, slot.get_array(), depth);
      case Shape::map:
      case Shape::map_of_list:
        if (!slot.is_object()) slot = json::object();
        return entry(field, raw, slot.get_object(), depth);
    }
    return false;
  }

  static bool is_zero(const json::value& v) {
    return (v.is_string() && v.get_string().empty()) || (v.is_bool() && !v.get_bool()) || (v.is_int64() && v.get_int64() == 0);
  }

  // Numbers may come packed.
  bool element(const Field& field, const Wired& raw, json::array& out, int depth) {
    bool number = field.kind == FieldKind::int32 || field.kind == FieldKind::int64 || field.kind == FieldKind::boolean;
    if (number && raw.wire == Wire::bytes) {
      std::string tagged;
      std::string_view rest = raw.bytes;
      while (!rest.empty()) {
        size_t size = 1;
        while (size < rest.size() && (rest[size - 1] & 0x80) != 0) ++size;
        tagged = "\x08" + std::string(rest.substr(0, size));
        Reader reader(tagged);
        Wired inner;
        if (!reader.next(inner) || !one(field, inner, out.emplace_back(nullptr), depth)) return false;
        rest.remove_prefix(size);
      }
      return true;
    }
    return one(field, raw, out.emplace_back(nullptr), depth);
  }

  bool entry(const Field& field, const Wired& raw, json::object& out, int depth) {
    if (raw.wire != Wire::bytes) return false;
    Reader reader(raw.bytes);
    Wired part, value;
    std::string_view key;
    bool has_value = false;
    while (reader.next(part)) {
      if (part.number == 1) key = part.bytes;
      if (part.number != 2) continue;
      value = part;
      has_value = true;
    }
    if (!reader.ok()) return false;
    json::value& slot = out[json::key(clean(key))];
    if (field.shape == Shape::map_of_list) {
      // A message of its own there: {items = 1}.
      json::array items;
      Reader list(value.bytes);
      while (has_value && list.next(part))
        if (!one(field, part, items.emplace_back(nullptr), depth)) return false;
      slot = std::move(items);
      return list.ok();
    }
    if (has_value) return one(field, value, slot, depth);
    Wired empty;
    empty.wire = field.kind == FieldKind::int32 || field.kind == FieldKind::int64 || field.kind == FieldKind::boolean ? Wire::varint : Wire::bytes;
    return one(field, empty, slot, depth);
  }

  bool one(const Field& field, const Wired& raw, json::value& out, int depth) {
    bool scalar = field.kind == FieldKind::boolean || field.kind == FieldKind::int32 || field.kind == FieldKind::int64 || field.kind == FieldKind::number;
    if (!scalar && raw.wire != Wire::bytes) return false;
    if (scalar && raw.wire == Wire::bytes) return false;
    switch (field.kind) {
      case FieldKind::string: out = text(raw.bytes); return true;
      case FieldKind::boolean: out = raw.value != 0; return true;
      case FieldKind::int32: out = static_cast<int64_t>(static_cast<int32_t>(raw.value)); return true;
      case FieldKind::int64: out = static_cast<int64_t>(raw.value); return true;
      case FieldKind::number: return number(raw, out);
      case FieldKind::bytes: out = base64_encode(raw.bytes); return true;
      case FieldKind::time:
      case FieldKind::micro_time: return time(raw.bytes, field.kind == FieldKind::micro_time, out);
      case FieldKind::quantity: return quantity(raw.bytes, out);
      case FieldKind::int_or_string: return int_or_string(raw.bytes, out);
      case FieldKind::raw:
      case FieldKind::any: return embedded(field, raw.bytes, out, depth);
      case FieldKind::message:
        if (!out.is_object()) out = json::object();
        return message(*field.type, raw.bytes, 0, out.get_object(), depth + 1);
    }
    return false;
  }

  // JSON has no infinities and no NaN.
  static bool number(const Wired& raw, json::value& out) {
    double d = raw.wire == Wire::fixed32 ? std::bit_cast<float>(static_cast<uint32_t>(raw.value)) : std::bit_cast<double>(raw.value);
    out = d;
    return std::isfinite(d);
  }

  static bool time(std::string_view bytes, bool micro, json::value& out) {
    Reader reader(bytes);
    Wired raw;
    int64_t seconds = 0, nanos = 0;
    while (reader.next(raw)) (raw.number == 1 ? seconds : nanos) = static_cast<int64_t>(raw.value);
    // Finer than the text can say is cut off there too; Go's zero time is an absent one.
    nanos = micro ? nanos / 1000 * 1000 : 0;
    if (bytes.empty() || (seconds == kZeroTime && nanos == 0)) {
      out = nullptr;
      return reader.ok();
    }
    if (seconds < kFirstTime || seconds > kLastTime || nanos < 0 || nanos >= 1'000'000'000) return false;
    out = text(format_calendar_time({seconds, static_cast<int32_t>(nanos)}, micro ? 6 : 0));
    return reader.ok();
  }

  static bool quantity(std::string_view bytes, json::value& out) {
    Reader reader(bytes);
    Wired raw;
    out = "0";
    while (reader.next(raw))
      if (raw.number == 1) out = text(raw.bytes);
    return reader.ok();
  }

  static bool int_or_string(std::string_view bytes, json::value& out) {
    Reader reader(bytes);
    Wired raw;
    int64_t kind = 0, number = 0;
    std::string_view string;
    while (reader.next(raw)) {
      if (raw.number == 1) kind = static_cast<int64_t>(raw.value);
      if (raw.number == 2) number = static_cast<int32_t>(raw.value);
      if (raw.number == 3) string = raw.bytes;
    }
    if (kind == 1) out = text(string);
    else out = number;
    return reader.ok();
  }

  // JSON inside: {raw = 1}. JSON schemas or something simpler: {schema, a bool, a list}, told apart by name.
  bool embedded(const Field& field, std::string_view bytes, json::value& out, int depth) {
    std::string_view name = field.type == nullptr ? std::string_view() : field.type->short_name;
    if (name.starts_with("JSONSchemaPropsOr")) return schema_or(name, bytes, out, depth);
    Reader reader(bytes);
    Wired raw;
    out = json::object();
    while (reader.next(raw)) {
      if (raw.number != 1 || raw.wire != Wire::bytes) continue;
      auto parsed = json::parse(raw.bytes);
      if (!parsed) return false;
      out = std::move(*parsed);
    }
    return reader.ok();
  }

  bool schema_or(std::string_view name, std::string_view bytes, json::value& out, int depth) {
    const Type* schema = api::Schema::builtin().find_type("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
    Reader reader(bytes);
    Wired raw;
    json::array list;
    bool is_bool = name.ends_with("Bool"), is_array = name.ends_with("PropsOrArray");
    out = nullptr;
    while (reader.next(raw)) {
      bool is_schema = is_bool ? raw.number == 2 : raw.number == 1;
      if (is_schema && raw.wire == Wire::bytes) {
        json::object object;
        if (!message(*schema, raw.bytes, 0, object, depth + 1)) return false;
        out = std::move(object);
      } else if (is_bool && raw.number == 1) {
        if (out.is_null()) out = raw.value != 0;
      } else if (is_array) {
        json::object object;
        if (!message(*schema, raw.bytes, 0, object, depth + 1)) return false;
        list.push_back(std::move(object));
      } else {
        list.push_back(text(raw.bytes));
      }
    }
    if (!list.empty()) out = std::move(list);
    return reader.ok();
  }
};

}  // namespace

Result<json::value> decode_protobuf(const api::Schema& schema, std::string_view body) {
  auto malformed = [](std::string_view why) { return fail(Status::bad_request("the body is no Kubernetes protobuf: " + std::string(why))); };
  if (!body.starts_with(kMagic)) return fail(Status::bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"));
  Reader envelope(body.substr(kMagic.size()));
  Wired raw;
  std::string_view type_meta, content;
  while (envelope.next(raw)) {
    if (raw.number == 1) type_meta = raw.bytes;
    if (raw.number == 2) content = raw.bytes;
  }
  if (!envelope.ok()) return malformed("the envelope is cut off");
  std::string api_version, kind;
  Reader meta(type_meta);
  while (meta.next(raw)) (raw.number == 1 ? api_version : kind) = clean(raw.bytes);
  size_t slash = api_version.find('/');
  std::string group = slash == std::string::npos ? "" : api_version.substr(0, slash);
  std::string version = slash == std::string::npos ? api_version : api_version.substr(slash + 1);
  const Type* type = schema.find_kind(group, version, kind);
  // Options are meta/v1's, under whichever group they are sent.
  if (type == nullptr) type = schema.find_type("io.k8s.apimachinery.pkg.apis.meta.v1." + kind);
  if (type == nullptr) return malformed("no kind \"" + kind + "\" is registered for version \"" + api_version + "\"");
  json::object object{{"kind", kind}, {"apiVersion", api_version}};
  if (!meta.ok() || !Decoder().message(*type, content, 0, object, 0)) return malformed("a field of " + kind + " is malformed");
  return object;
}

}  // namespace kcube::machinery
