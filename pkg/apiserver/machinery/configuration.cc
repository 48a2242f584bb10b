#include "pkg/apiserver/machinery/configuration.h"

#include <set>

#include "pkg/apiserver/machinery/structure.h"

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::Shape;

// As Go prints a value of any type.
std::string printed(const json::value& value) {
  if (value.is_string()) return std::string(json::view(value.get_string()));
  std::string out;
  if (value.is_array()) {
    for (const json::value& item : value.get_array()) out += (out.empty() ? "" : " ") + printed(item);
    return "[" + out + "]";
  }
  if (!value.is_object()) return json::serialize(value);
  for (const auto& m : value.get_object()) out += (out.empty() ? "" : " ") + std::string(m.key()) + ":" + printed(m.value());
  return "map[" + out + "]";
}

std::string mismatch(const std::string& path, const char* wanted, const json::value& value) { return path + ": expected " + wanted + ", got &{" + printed(value) + "}"; }

// "[name="one"]" of a keyed list, "[="x"]" of a set.
std::string shown_key(const Place& place, const json::value& item) {
  if (place.kind == Place::Kind::set) return "[=" + json::serialize(item) + "]";
  std::string out;
  for (std::string_view key : place.field->list_map_keys)
    if (const json::value* v = json::find(&item, key)) out += (out.empty() ? "" : ",") + std::string(key) + "=" + json::serialize(*v);
  return "[" + out + "]";
}

std::string object_problem(const json::value& value, const api::Type& type, const std::string& path);

std::string scalar_problem(const json::value& value, const Field& field, const std::string& path) {
  const char* wanted = nullptr;
  switch (field.kind) {
    case FieldKind::message: return object_problem(value, *field.type, path);
    case FieldKind::string:
    case FieldKind::bytes:
      if (!value.is_string()) wanted = "string";
      break;
    case FieldKind::boolean:
      if (!value.is_bool()) wanted = "boolean";
      break;
    case FieldKind::int32:
    case FieldKind::int64:
    case FieldKind::number:
      if (!value.is_number()) wanted = "numeric (int or float)";
      break;
    default: break;
  }
  if (wanted == nullptr) return {};
  return path + ": expected " + wanted + ", got &value.valueUnstructured{Value:" + (value.is_string() ? json::serialize(value) : printed(value)) + "}";
}

std::string list_problem(const json::value& value, const Field& field, const std::string& path) {
  if (!value.is_array()) return mismatch(path, "list", value);
  const Place place = Place::of(field);
  const bool keyed = place.kind == Place::Kind::keyed_list || place.kind == Place::Kind::set;
  std::set<std::string> seen;
  for (const json::value& item : value.get_array()) {
    std::string element = keyed ? path_element(place, item) : std::string();
    if (!element.empty() && !seen.insert(element).second) return path + ": duplicate entries for key " + shown_key(place, item);
    if (item.is_null()) continue;
    if (std::string problem = scalar_problem(item, field, path + (keyed ? shown_key(place, item) : "")); !problem.empty()) return problem;
  }
  return {};
}

std::string field_problem(const json::value& value, const Field& field, const std::string& path) {
  if (value.is_null()) return {};
  switch (field.shape) {
    case Shape::single: return scalar_problem(value, field, path);
    case Shape::list: return list_problem(value, field, path);
    case Shape::map:
      if (!value.is_object()) return mismatch(path, "map", value);
      for (const auto& m : value.get_object())
        if (std::string problem = m.value().is_null() ? std::string() : scalar_problem(m.value(), field, path + "." + std::string(m.key())); !problem.empty()) return problem;
      return {};
    case Shape::map_of_list: return value.is_object() ? std::string() : mismatch(path, "map", value);
  }
  return {};
}

std::string object_problem(const json::value& value, const api::Type& type, const std::string& path) {
  if (type.fields.empty()) return {};
  if (!value.is_object()) return mismatch(path, "map", value);
  for (const auto& m : value.get_object()) {
    const Field* field = type.field(json::view(m.key()));
    const std::string at = path + "." + std::string(m.key());
    if (field == nullptr && type.open) continue;
    if (field == nullptr) return at + ": field not declared in schema";
    if (std::string problem = field_problem(m.value(), *field, at); !problem.empty()) return problem;
  }
  return {};
}

}  // namespace

std::string configuration_problem(const json::value& config, const api::Type& type) { return object_problem(config, type, ""); }

}  // namespace kcube::machinery
