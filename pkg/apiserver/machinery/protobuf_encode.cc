#include <algorithm>
#include <span>

#include "pkg/apiserver/machinery/protobuf.h"
#include "pkg/base/clock.h"
#include "pkg/base/protobuf_wire.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::Shape;
using api::Type;
using protobuf::put_bytes;
using protobuf::put_double;
using protobuf::put_number;

constexpr std::string_view kMagic("k8s\0", 4);
constexpr std::string_view kObjectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
constexpr std::string_view kListMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
constexpr std::string_view kSchemaProps = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

int64_t to_int(const json::value& v) {
  if (v.is_int64()) return v.get_int64();
  if (v.is_uint64()) return static_cast<int64_t>(v.get_uint64());
  return v.is_double() ? static_cast<int64_t>(v.get_double()) : 0;
}

// A member of a message in hand, under its whole path from there: 16 bits a step, the first step uppermost.
struct Member {
  uint64_t path;
  const Field* field;
  const json::value* value;
};

constexpr int kFirstStep = 48;

uint64_t aligned(uint64_t proto) {
  if (proto == 0) return 0;
  while ((proto >> kFirstStep) == 0) proto <<= 16;
  return proto;
}

class Encoder {
 public:
  // `zeros`: what is absent and no pointer in Go is written as well, as it is there.
  explicit Encoder(bool zeros = false) : zeros_(zeros) {}

  std::string message(const Type& type, const json::object& object) {
    std::vector<Member> members;
    members.reserve(object.size());
    for (const auto& [name, value] : object) {
      const Field* field = type.field(name);
      if (field != nullptr && field->proto != 0 && !value.is_null()) members.push_back({aligned(field->proto), field, &value});
    }
    if (zeros_) add_zeros(type, object, members);
    std::ranges::sort(members, {}, &Member::path);
    std::string out;
    group(members, kFirstStep, out);
    return out;
  }

 private:
  static void add_zeros(const Type& type, const json::object& object, std::vector<Member>& members) {
    static const json::value kText(""), kNumber(0), kFalse(false), kStruct = json::object();
    for (const Field& field : type.fields) {
      const json::value* there = object.if_contains(json::key(field.name));
      if (field.proto == 0 || field.pointer || field.shape != Shape::single || (there != nullptr && !there->is_null())) continue;
      const json::value* zero = field.kind == FieldKind::string ? &kText : field.kind == FieldKind::int32 || field.kind == FieldKind::int64 ? &kNumber
                                : field.kind == FieldKind::boolean ? &kFalse : field.kind == FieldKind::message ? &kStruct : nullptr;
      if (zero != nullptr) members.push_back({aligned(field.proto), &field, zero});
    }
  }

  // Members whose paths begin alike and differ from the step at `shift` on.
  void group(std::span<const Member> members, int shift, std::string& out) {
    while (!members.empty()) {
      const uint64_t number = members[0].path >> shift & 0xffff;
      const bool leaf = shift == 0 || (members[0].path & ((uint64_t{1} << shift) - 1)) == 0;
      size_t count = 1;
      if (!leaf)
        while (count < members.size() && (members[count].path >> shift & 0xffff) == number) ++count;
      if (leaf) {
        member(*members[0].field, number, *members[0].value, out);
      } else {
        std::string nested;
        group(members.first(count), shift - 16, nested);
        put_bytes(out, number, nested);
      }
      members = members.subspan(count);
    }
  }

  void member(const Field& field, uint64_t number, const json::value& value, std::string& out) {
    switch (field.shape) {
      case Shape::single: return one(field, number, value, out);
      case Shape::list:
        for (const json::value& item : json::get_array(&value)) one(field, number, item, out);
        return;
      case Shape::map:
      case Shape::map_of_list: return entries(field, number, value, out);
    }
  }

  void entries(const Field& field, uint64_t number, const json::value& value, std::string& out) {
    if (!value.is_object()) return;
    std::vector<const json::object::value_type*> sorted;
    for (const auto& entry : value.get_object()) sorted.push_back(&entry);
    std::ranges::sort(sorted, [](const auto* a, const auto* b) { return a->key() < b->key(); });
    for (const auto* entry : sorted) {
      std::string bytes;
      put_bytes(bytes, 1, entry->key());
      if (field.shape == Shape::map) {
        one(field, 2, entry->value(), bytes);
      } else {
        std::string items;
        for (const json::value& item : json::get_array(&entry->value())) one(field, 1, item, items);
        put_bytes(bytes, 2, items);
      }
      put_bytes(out, number, bytes);
    }
  }

  void one(const Field& field, uint64_t number, const json::value& value, std::string& out) {
    switch (field.kind) {
      case FieldKind::string: return put_bytes(out, number, json::get_string(&value));
      case FieldKind::boolean: return put_number(out, number, value.is_bool() && value.get_bool() ? 1 : 0);
      case FieldKind::int32:
      case FieldKind::int64: return put_number(out, number, static_cast<uint64_t>(to_int(value)));
      case FieldKind::number: return put_double(out, number, value.is_double() ? value.get_double() : static_cast<double>(to_int(value)));
      case FieldKind::bytes: return put_bytes(out, number, base64_decode(json::get_string(&value)).value_or(""));
      case FieldKind::time:
      case FieldKind::micro_time: return put_bytes(out, number, time(value));
      case FieldKind::quantity: return put_bytes(out, number, quantity(value));
      case FieldKind::int_or_string: return put_bytes(out, number, int_or_string(value));
      case FieldKind::raw:
      case FieldKind::any: return put_bytes(out, number, embedded(field, value));
      case FieldKind::message:
        if (value.is_object()) put_bytes(out, number, message(*field.type, value.get_object()));
        return;
    }
  }

  static std::string time(const json::value& value) {
    std::string out;
    CalendarTime when;
    if (!parse_calendar_time(json::get_string(&value), when)) return out;
    put_number(out, 1, static_cast<uint64_t>(when.seconds));
    put_number(out, 2, static_cast<uint64_t>(when.nanos));
    return out;
  }

  static std::string quantity(const json::value& value) {
    std::string out;
    put_bytes(out, 1, value.is_string() ? std::string(json::get_string(&value)) : json::serialize(value));
    return out;
  }

  static std::string int_or_string(const json::value& value) {
    std::string out;
    put_number(out, 1, value.is_string() ? 1 : 0);
    put_number(out, 2, value.is_string() ? 0 : static_cast<uint64_t>(to_int(value)));
    put_bytes(out, 3, json::get_string(&value));
    return out;
  }

  // JSON inside, or one of the shapes that JSON schemas take.
  std::string embedded(const Field& field, const json::value& value) {
    std::string_view name = field.type == nullptr ? std::string_view() : field.type->short_name;
    std::string out;
    if (!name.starts_with("JSONSchemaPropsOr")) {
      put_bytes(out, 1, json::serialize(value));
      return out;
    }
    const Type& schema = *api::Schema::builtin().find_type(kSchemaProps);
    const bool is_bool = name.ends_with("Bool");
    if (is_bool) put_number(out, 1, value.is_object() || (value.is_bool() && value.get_bool()) ? 1 : 0);
    if (value.is_object()) put_bytes(out, is_bool ? 2 : 1, message(schema, value.get_object()));
    for (const json::value& item : json::get_array(&value)) put_bytes(out, 2, item.is_object() ? message(schema, item.get_object()) : std::string(json::get_string(&item)));
    return out;
  }

  const bool zeros_;
};

std::string envelope(std::string_view api_version, std::string_view kind, std::string_view content) {
  std::string type_meta, out(kMagic);
  put_bytes(type_meta, 1, api_version);
  put_bytes(type_meta, 2, kind);
  put_bytes(out, 1, type_meta);
  put_bytes(out, 2, content);
  put_bytes(out, 3, "");
  put_bytes(out, 4, "");
  return out;
}

std::string meta_of(std::string_view type, const json::value& object) {
  const json::value* metadata = json::find(&object, "metadata");
  if (metadata == nullptr || !metadata->is_object()) return {};
  return Encoder().message(*api::Schema::builtin().find_type(type), metadata->get_object());
}

}  // namespace

std::string encode_protobuf(const Type& type, const json::value& object) {
  // Failures and documents are the same to the byte as there; for objects it would be size without meaning.
  const bool zeros = type.package == "meta.v1";
  const std::string content = object.is_object() ? Encoder(zeros).message(type, object.get_object()) : std::string();
  return envelope(json::get_string(object, {"apiVersion"}), json::get_string(object, {"kind"}), content);
}

std::string encode_metadata_protobuf(const json::value& object, std::string_view api_version) {
  std::string content;
  put_bytes(content, 1, meta_of(kObjectMeta, object));
  return envelope(api_version, "PartialObjectMetadata", content);
}

ProtobufList::ProtobufList(const json::object& metadata) {
  put_bytes(content_, 1, Encoder().message(*api::Schema::builtin().find_type(kListMeta), metadata));
}

void ProtobufList::add(const Type& type, const json::value& object) {
  put_bytes(content_, 2, Encoder().message(type, object.get_object()));
}

void ProtobufList::add_metadata(const json::value& object) {
  std::string item;
  put_bytes(item, 1, meta_of(kObjectMeta, object));
  put_bytes(content_, 2, item);
}

std::string ProtobufList::finish(std::string_view api_version, std::string_view kind) const { return envelope(api_version, kind, content_); }

std::string protobuf_watch_event(std::string_view type, std::string_view object) {
  std::string raw, event;
  put_bytes(raw, 1, object);
  put_bytes(event, 1, type);
  put_bytes(event, 2, raw);
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(event.size() >> shift);
  return out + event;
}

}  // namespace kcube::machinery
