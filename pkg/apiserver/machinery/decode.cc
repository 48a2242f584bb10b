#include "pkg/apiserver/machinery/decode.h"

#include "pkg/apiserver/machinery/cbor.h"
#include "pkg/apiserver/machinery/go_time.h"
#include "pkg/apiserver/machinery/protobuf.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "pkg/api/errors.h"
#include "pkg/api/json_depth.h"
#include "pkg/api/json_members.h"
#include "pkg/api/quantity.h"
#include "pkg/api/yaml.h"
#include "pkg/base/clock.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

// Fields that are unknown or there twice, of one body: more are not named.
constexpr size_t kMostNamed = 100;

using api::Field;
using api::FieldKind;
using api::Shape;
using api::Type;

// What Go calls the types, for the messages of its decoder.
std::string go_type(const Field& field) {
  if (!field.go_name.empty()) return std::string(field.go_name);
  switch (field.kind) {
    case FieldKind::boolean: return "bool";
    case FieldKind::int32: return "int32";
    case FieldKind::int64: return "int64";
    case FieldKind::number: return "float64";
    case FieldKind::bytes: return "[]uint8";
    case FieldKind::message: {
      std::string package(field.type->package);
      size_t dot = package.rfind('.');
      return package.substr(dot == std::string::npos ? 0 : dot + 1) + "." + std::string(field.type->short_name);
    }
    default: return "string";
  }
}

std::string json_kind(const json::value& v) {
  if (v.is_string()) return "string";
  if (v.is_bool()) return "bool";
  if (v.is_object()) return "object";
  if (v.is_array()) return "array";
  return "number";
}

// Walks a value beside its type. Messages name the Go struct and the path without indexes, as encoding/json does;
// unknown fields are named with indexes.
class Checker {
 public:
  Checker(FieldValidation validation, Empty empty) : validation_(validation), empty_(empty) {}

  Result<void> message(json::value& value, const Type& type, const std::string& path, const std::string& indexed_path) {
    if (!value.is_object()) return wrong_root(value, type);
    const Deeper deeper(depth_);
    if (depth_ > json::kUsualDepth) return fail(Status::bad_request("invalid character '{' exceeded max depth"));
    json::object& object = value.get_object();
    std::vector<size_t> gone;
    for (auto it = object.begin(); it != object.end(); ++it) {
      auto remove = [&] { gone.push_back(static_cast<size_t>(it - object.begin())); };
      std::string_view name = json::view(it->key());
      const Field* field = type.field(name);
      std::string at = indexed_path.empty() ? std::string(name) : indexed_path + "." + std::string(name);
      if (field == nullptr) {
        const auto position = static_cast<size_t>(it - object.begin());
        if (unknown_.empty() || (path.empty() && !unknown_on_top_)) first_unknown_ = position;
        unknown_on_top_ |= path.empty();
        if (validation_ != FieldValidation::ignore && unknown_.size() < kMostNamed) unknown_.push_back("unknown field \"" + at + "\"");
        remove();
        continue;
      }
      if (it->value().is_null()) {
        remove();
        continue;
      }
      std::string plain = path.empty() ? std::string() : path + ".";
      if (!field->inside.empty()) plain.append(field->inside).append(".");
      plain += name;
      if (auto r = member(it->value(), *field, type, plain, at); !r) return r;
      if (empty_ == Empty::keep || !is_empty(it->value(), *field)) continue;
      if (it->value().is_structured()) emptied_.push_back({std::move(at), it->value().is_array()});
      remove();
    }
    if (!gone.empty()) json::erase_members(object, gone);
    return {};
  }

  const std::vector<std::string>& unknown() const { return unknown_; }
  size_t first_unknown() const { return first_unknown_; }
  std::vector<Emptied>& emptied() { return emptied_; }

 private:
  // What Go's `omitempty` leaves out. Structs never are empty, nor what a pointer leads to.
  static bool is_empty(const json::value& value, const Field& field) {
    if ((field.required && !field.omitempty) || field.pointer) return false;
    if (field.shape == Shape::list) return value.get_array().empty();
    if (field.shape != Shape::single) return value.get_object().empty();
    switch (field.kind) {
      case FieldKind::string:
      case FieldKind::bytes: return value.get_string().empty();
      case FieldKind::boolean: return !value.get_bool();
      case FieldKind::int32:
      case FieldKind::int64: return value.get_int64() == 0;
      default: return false;
    }
  }

  static std::unexpected<Status> mismatch(const std::string& what, const Type& owner, const std::string& path, const std::string& go) {
    return fail(Status::bad_request("json: cannot unmarshal " + what + " into Go struct field " + std::string(owner.short_name) + "." + path +
                                    " of type " + go));
  }

  static std::unexpected<Status> wrong_root(const json::value& value, const Type& type) {
    return fail(Status::bad_request("json: cannot unmarshal " + json_kind(value) + " into Go value of type " + go_type({.kind = FieldKind::message, .type = &type})));
  }

  Result<void> member(json::value& value, const Field& field, const Type& owner, const std::string& path, const std::string& indexed) {
    switch (field.shape) {
      case Shape::single: return one(value, field, owner, path, indexed);
      case Shape::list: {
        if (!value.is_array()) return mismatch(json_kind(value), owner, path, "[]" + go_type(field));
        size_t i = 0;
        for (json::value& item : value.get_array()) {
          std::string at = indexed + "[" + std::to_string(i++) + "]";
          if (item.is_null()) {
            item = zero(field);
            continue;
          }
          if (auto r = one(item, field, owner, path, at); !r) return r;
        }
        return {};
      }
      case Shape::map: {
        if (!value.is_object()) return mismatch(json_kind(value), owner, path, field.go_name.empty() ? "map[string]" + go_type(field) : std::string(field.go_name));
        for (auto& m : value.get_object()) {
          if (m.value().is_null()) {
            m.value() = zero(field);
            continue;
          }
          if (auto r = one(m.value(), field, owner, path, indexed + "." + std::string(m.key())); !r) return r;
        }
        return {};
      }
      case Shape::map_of_list: {
        if (!value.is_object()) return mismatch(json_kind(value), owner, path, "map[string][]" + go_type(field));
        for (auto& m : value.get_object()) {
          if (!m.value().is_array()) return mismatch(json_kind(m.value()), owner, path, "[]" + go_type(field));
          for (json::value& item : m.value().get_array())
            if (auto r = one(item, field, owner, path, indexed); !r) return r;
        }
        return {};
      }
    }
    return {};
  }

  static json::value zero(const Field& field) {
    switch (field.kind) {
      case FieldKind::message:
      case FieldKind::raw: return json::object();
      case FieldKind::boolean: return false;
      case FieldKind::int32:
      case FieldKind::int64:
      case FieldKind::number: return 0;
      case FieldKind::any: return nullptr;
      default: return "";
    }
  }

  Result<void> one(json::value& value, const Field& field, const Type& owner, const std::string& path, const std::string& indexed) {
    switch (field.kind) {
      case FieldKind::string:
        if (!value.is_string()) return mismatch(json_kind(value), owner, path, go_type(field));
        return {};
      case FieldKind::boolean:
        if (!value.is_bool()) return mismatch(json_kind(value), owner, path, "bool");
        return {};
      case FieldKind::int32:
      case FieldKind::int64: return integer(value, field, owner, path);
      case FieldKind::number:
        if (!value.is_number()) return mismatch(json_kind(value), owner, path, "float64");
        return {};
      case FieldKind::bytes: return bytes(value, owner, path);
      case FieldKind::time:
      case FieldKind::micro_time: return time(value, field, owner, path);
      case FieldKind::quantity: return quantity(value);
      case FieldKind::int_or_string:
        if (value.is_string()) return {};
        if (value.is_number()) return integer(value, {.kind = FieldKind::int32}, owner, path);
        return mismatch(json_kind(value), owner, path, "intstr.IntOrString");
      case FieldKind::raw: return {};
      case FieldKind::any: return {};
      case FieldKind::message:
        if (!value.is_object()) return mismatch(json_kind(value), owner, path, go_type(field));
        return message(value, *field.type, path, indexed);
    }
    return {};
  }

  static Result<void> integer(json::value& value, const Field& field, const Type& owner, const std::string& path) {
    std::string go = field.kind == FieldKind::int32 ? "int32" : "int64";
    if (!value.is_number()) return mismatch(json_kind(value), owner, path, go);
    // 2.0 is an integer to Kubernetes' decoder; 2.5 is not.
    if (value.is_double()) {
      double d = value.get_double();
      if (d != std::floor(d) || std::abs(d) > 9e18) return mismatch("number " + number_text(value), owner, path, go);
      value = static_cast<int64_t>(d);
    }
    // Values made in this process may be unsigned.
    if (value.is_uint64() && value.get_uint64() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) value = static_cast<int64_t>(value.get_uint64());
    bool fits = value.is_int64();
    if (fits && field.kind == FieldKind::int32)
      fits = value.get_int64() >= std::numeric_limits<int32_t>::min() && value.get_int64() <= std::numeric_limits<int32_t>::max();
    if (!fits) return mismatch("number " + json::serialize(value), owner, path, go);
    return {};
  }

  static Result<void> bytes(json::value& value, const Type& owner, const std::string& path) {
    if (value.is_array() && !value.get_array().empty()) return mismatch(json_kind(value.get_array()[0]), owner, path, "uint8");
    if (!value.is_string()) return mismatch(json_kind(value), owner, path, "[]uint8");
    std::string_view text = json::view(value.get_string());
    if (base64_decode(text)) return {};
    // Line breaks are allowed in base64 by Go's decoder: drop them and try again.
    std::string joined;
    for (char c : text)
      if (c != '\n' && c != '\r') joined += c;
    if (base64_decode(joined)) {
      value = json::key(joined);
      return {};
    }
    size_t bad = 0;
    while (bad < text.size() && (std::isalnum(static_cast<unsigned char>(text[bad])) || text[bad] == '+' || text[bad] == '/')) ++bad;
    // Padding is met where a group may end; what comes after the last group is what is wrong.
    if (size_t end = text.find_first_not_of('=', bad); bad % 4 >= 2 && end != std::string_view::npos && end == (bad + 3) / 4 * 4) bad = end;
    if (bad == text.size()) bad -= bad % 4;   // a group that is cut short
    return fail(Status::bad_request("illegal base64 data at input byte " + std::to_string(bad)));
  }

  static Result<void> time(json::value& value, const Field& field, const Type& owner, const std::string& path) {
    if (!value.is_string()) return mismatch(json_kind(value), owner, path, "string");
    CalendarTime t;
    std::string_view text = json::view(value.get_string());
    const bool micro = field.kind == FieldKind::micro_time;
    if (std::string problem = parse_go_time(text, micro, t); !problem.empty()) return fail(Status::bad_request(std::move(problem)));
    value = json::key(format_calendar_time(t, micro ? 6 : 0));
    return {};
  }

  // As a person writes it: Boost's own form of 0.5 is 5E-1, which is a quantity of another format.
  static std::string number_text(const json::value& value) {
    if (!value.is_double()) return json::serialize(value);
    char buffer[64];
    auto end = std::to_chars(buffer, buffer + sizeof buffer, value.get_double(), std::chars_format::fixed).ptr;
    return {buffer, end};
  }

  static Result<void> quantity(json::value& value) {
    std::string text = value.is_string() ? std::string(json::view(value.get_string())) : number_text(value);
    auto q = api::Quantity::parse(text);
    if (!q || value.is_object() || value.is_array() || value.is_bool())
      return fail(Status::bad_request(q ? "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                                        : q.error().message()));
    value = json::key(q->to_string());
    return {};
  }

  struct Deeper {
    explicit Deeper(int& depth) : depth_(depth) { ++depth_; }
    ~Deeper() { --depth_; }
    int& depth_;
  };

  const FieldValidation validation_;
  const Empty empty_;
  int depth_ = 0;
  std::vector<std::string> unknown_;
  std::vector<Emptied> emptied_;
  size_t first_unknown_ = 0;      // of the outermost object, when there is one
  bool unknown_on_top_ = false;
};

}  // namespace

Result<json::value> parse_body(std::string_view content_type, std::string_view body) {
  std::string media = to_lower(trim(content_type.substr(0, content_type.find(';'))));
  if (media == "application/yaml" || media == "text/yaml" || media == "application/x-yaml" || media == "application/apply-patch+yaml")
{
    std::vector<std::string> duplicates;
    return api::parse_yaml_body(body, duplicates);
  }
  if (media.empty() || media == "application/json" || media.ends_with("+json")) return json::parse(body);
  if (media == kCborType || media == "application/apply-patch+cbor") return decode_cbor(body);
  if (media == kProtobufType) return decode_protobuf(api::Schema::builtin(), body);
  return fail(api::unsupported_media_type("application/json, application/yaml, application/vnd.kubernetes.protobuf"));
}

Result<Decoded> check_types(json::value value, const Type& type, FieldValidation validation, Empty empty) {
  Checker checker(validation, empty);
  if (auto r = checker.message(value, type, "", ""); !r) return fail(r.error());
  if (validation == FieldValidation::strict && !checker.unknown().empty())
    return fail(Status::bad_request("strict decoding error: " + join(checker.unknown(), ", ")));
  return Decoded{std::move(value), std::move(checker.emptied()), checker.unknown(), checker.first_unknown()};
}

void restore_emptied(json::value& object, const std::vector<Emptied>& emptied) {
  for (const auto& [path, list] : emptied) {
    json::value* at = &object;
    const size_t last = path.find_last_of('.');
    for (std::string_view part : split(std::string_view(path).substr(0, last == std::string::npos ? 0 : last), '.')) {
      const size_t bracket = part.find('[');
      if (!part.empty()) at = json::find(at, part.substr(0, bracket));
      if (at == nullptr || bracket == std::string_view::npos) {
        if (at == nullptr) break;
        continue;
      }
      const size_t index = parse_int<size_t>(part.substr(bracket + 1, part.size() - bracket - 2)).value_or(0);
      at = at->is_array() && index < at->get_array().size() ? &at->get_array()[index] : nullptr;
      if (at == nullptr) break;
    }
    const std::string_view name = std::string_view(path).substr(last + 1);   // npos + 1 is 0
    if (at == nullptr || !at->is_object() || at->get_object().contains(name)) continue;
    at->get_object().emplace(name, list ? json::value(json::array()) : json::value(json::object()));
  }
}

}  // namespace kcube::machinery
