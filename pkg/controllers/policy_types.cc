#include "pkg/controllers/policy_types.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace kcube::controllers {
namespace {

using cel::Type;
using cel::TypeRef;

// A field's type without regard to its shape.
TypeRef single(api::FieldKind kind, const api::Type* type) {
  using enum api::FieldKind;
  switch (kind) {
    case string: return Type::string();
    case boolean: return Type::boolean();
    case int32:
    case int64: return Type::integer();
    case number: return Type::number();
    case bytes: return Type::bytes();
    case time:
    case micro_time: return Type::timestamp();
    case message: return type != nullptr ? builtin_type(*type) : Type::dyn();
    default: return Type::dyn();
  }
}

// The fields of a built-in type, made as expressions name them.
class SchemaFields final : public cel::Fields {
 public:
  explicit SchemaFields(const api::Type& type) : type_(type) {}
  const cel::Field* find(std::string_view name) const override {
    auto json_name = cel::unescape_field(name);
    return json_name ? find_json(*json_name) : nullptr;
  }
  const cel::Field* find_json(std::string_view name) const override {
    const api::Field* field = type_.field(name);
    if (field == nullptr) return nullptr;
    std::lock_guard lock(mutex_);
    auto [it, is_new] = made_.try_emplace(std::string(name));
    if (is_new) it->second = {shaped(*field), std::string(name)};
    return &it->second;
  }

 private:
  static TypeRef shaped(const api::Field& field) {
    TypeRef one = single(field.kind, field.type);
    switch (field.shape) {
      case api::Shape::single: return one;
      case api::Shape::list: return Type::list(one);
      case api::Shape::map: return Type::map(Type::string(), one);
      case api::Shape::map_of_list: return Type::map(Type::string(), Type::list(one));
    }
    return one;
  }

  const api::Type& type_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, cel::Field, std::less<>> made_;   // nodes stay where they are
};

const TypeRef& metadata_type() {
  static const TypeRef type = builtin_type(*api::Schema::builtin().find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
  return type;
}

std::string_view text_of(const json::value& schema, const char* member) { return json::get_string(json::find(&schema, member)); }
bool flag(const json::value& schema, const char* member) { return json::get_bool(schema, {member}); }

TypeRef structural_type(const json::value& schema, const std::string& name, bool resource);

// Null as structural_type(): what is inside has no type.
TypeRef structural_map(const json::value& additional, const std::string& name) {
  TypeRef value = structural_type(additional, name + ".@elem", flag(additional, "x-kubernetes-embedded-resource"));
  return value ? Type::map(Type::string(), value) : nullptr;
}

TypeRef structural_object(const json::value& schema, const std::string& name, bool resource) {
  std::vector<std::pair<std::string, TypeRef>> fields;
  if (const json::value* properties = json::find(&schema, "properties"); properties != nullptr && properties->is_object())
    for (const auto& property : properties->get_object()) {
      std::string key(json::view(property.key()));
      if (resource && (key == "apiVersion" || key == "kind" || key == "metadata")) continue;
      if (TypeRef type = structural_type(property.value(), name + "." + key, flag(property.value(), "x-kubernetes-embedded-resource"))) fields.emplace_back(key, std::move(type));
    }
  if (resource) {
    fields.emplace_back("apiVersion", Type::string());
    fields.emplace_back("kind", Type::string());
    fields.emplace_back("metadata", metadata_type());
  }
  return Type::object(name, cel::make_fields(std::move(fields)));
}

// Null where nothing says what a value is: expressions cannot name it. Of an object that preserves unknown fields only those
// that are known can be named.
TypeRef structural_type(const json::value& schema, const std::string& name, bool resource) {
  if (flag(schema, "x-kubernetes-int-or-string")) return Type::dyn();
  std::string_view type = text_of(schema, "type");
  if (type == "array") {
    const json::value* items = json::find(&schema, "items");
    TypeRef item = items == nullptr ? nullptr : structural_type(*items, name + ".@idx", flag(*items, "x-kubernetes-embedded-resource"));
    return item ? Type::list(item) : nullptr;
  }
  if (type == "object" || resource) {
    const json::value* additional = json::find(&schema, "additionalProperties");
    return additional != nullptr && additional->is_object() ? structural_map(*additional, name) : structural_object(schema, name, resource);
  }
  if (type == "string") return Type::of_format(text_of(schema, "format"));
  if (type == "integer") return Type::integer();
  if (type == "number") return Type::number();
  if (type == "boolean") return Type::boolean();
  return nullptr;
}

}  // namespace

TypeRef builtin_type(const api::Type& type) {
  if (type.scalar != api::FieldKind::message) return single(type.scalar, nullptr);
  if (type.open) return Type::dyn();
  return Type::object(std::string(type.name), std::make_shared<SchemaFields>(type));
}

TypeRef defined_type(const json::value& definition, std::string_view version) {
  for (const json::value& v : json::get_array(json::at(&definition, {"spec", "versions"})))
    if (json::get_string(v, {"name"}) == version && json::get_bool(v, {"served"})) {
      const json::value* schema = json::at(&v, {"schema", "openAPIV3Schema"});
      // Of an object that keeps whatever comes nothing is known.
      if (schema == nullptr || json::get_bool(definition, {"spec", "preserveUnknownFields"})) return nullptr;
      return structural_type(*schema, std::string(json::get_string(definition, {"spec", "names", "kind"})), true);
    }
  return nullptr;
}

}  // namespace kcube::controllers
