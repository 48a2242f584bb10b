#include "pkg/apiserver/extension/field_types.h"

#include <algorithm>

namespace kcube::apiserver::extension {
namespace {

using api::Field;
using api::FieldKind;
using api::ListType;
using api::Shape;
using api::Type;

const Type* metadata_type() {
  static const Type* type = api::Schema::builtin().find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
  return type;
}

FieldKind scalar_kind(const Structural& schema) {
  if (schema.int_or_string) return FieldKind::int_or_string;
  if (schema.type == "string") return FieldKind::string;
  if (schema.type == "boolean") return FieldKind::boolean;
  if (schema.type == "integer") return FieldKind::int64;
  if (schema.type == "number") return FieldKind::number;
  return FieldKind::any;
}

}  // namespace

const Type* FieldTypes::build(const Structural& schema) { return object(schema, true); }

const Type* FieldTypes::object(const Structural& schema, bool resource) {
  std::vector<Field>& fields = fields_.emplace_back();
  for (const auto& [name, part] : schema.properties) {
    if (resource && (name == "apiVersion" || name == "kind" || name == "metadata")) continue;
    fields.push_back(field(name, part));
  }
  if (resource) {
    fields.push_back({.name = "apiVersion"});
    fields.push_back({.name = "kind"});
    fields.push_back({.name = "metadata", .kind = FieldKind::message, .type = metadata_type()});
  }
  std::ranges::sort(fields, {}, &Field::name);
  Type& type = types_.emplace_back();
  type.atomic = schema.map_type == "atomic";
  type.open = schema.keeps_unknown();
  type.fields = fields;
  return &type;
}

Field FieldTypes::field(std::string_view name, const Structural& schema) {
  Field f{.name = name};
  if (schema.type == "array" && schema.items) {
    f.shape = Shape::list;
    f.list_type = schema.list_type == "map" ? ListType::map : schema.list_type == "set" ? ListType::set : ListType::atomic;
    std::vector<std::string_view>& keys = keys_.emplace_back(schema.list_map_keys.begin(), schema.list_map_keys.end());
    f.list_map_keys = keys;
    f.element = &elements_.emplace_back(field("", *schema.items));
    f.kind = f.element->kind;
    f.type = f.element->type;
  } else if (schema.additional && schema.properties.empty()) {
    f.shape = Shape::map;
    f.atomic = schema.map_type == "atomic";
    f.element = &elements_.emplace_back(field("", *schema.additional));
    f.kind = f.element->kind;
    f.type = f.element->type;
  } else if (schema.type == "object" || !schema.properties.empty() || schema.keeps_unknown()) {
    f.kind = FieldKind::message;
    f.type = object(schema, schema.embedded);
    f.atomic = schema.map_type == "atomic";
  } else {
    f.kind = scalar_kind(schema);
    // Of the keys of a list: an element that leaves one out is told by its default.
    if (schema.fallback && !schema.fallback->is_object() && !schema.fallback->is_array()) f.default_json = texts_.emplace_back(json::serialize(*schema.fallback));
  }
  return f;
}

}  // namespace kcube::apiserver::extension
