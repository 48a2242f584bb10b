#include "pkg/apiserver/extension/open_api.h"

#include <algorithm>

namespace kcube::apiserver::extension {
namespace {

constexpr const char* kApiVersion =
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest "
    "internal value, and may reject unrecognized values. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
constexpr const char* kKind =
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client "
    "submits requests to. Cannot be updated. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
constexpr const char* kMetadata =
    "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
constexpr const char* kListMetadata =
    "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

json::object reference(std::string_view name, bool v2) {
  std::string path = (v2 ? "#/definitions/" : "#/components/schemas/") + std::string(name);
  if (v2) return {{"$ref", path}};
  return {{"allOf", json::array{json::object{{"$ref", path}}}}};
}

json::object metadata(std::string_view type, const char* description, bool v2) {
  json::object out = reference("io.k8s.apimachinery.pkg.apis.meta.v1." + std::string(type), v2);
  out["description"] = description;
  return out;
}

void add_type_meta(json::object& properties) {
  properties["apiVersion"] = json::object{{"description", kApiVersion}, {"type", "string"}};
  properties["kind"] = json::object{{"description", kKind}, {"type", "string"}};
}

bool flag(const json::object& schema, std::string_view name) { return json::get_bool(schema.if_contains(json::key(name))); }

// What Swagger 2.0 does not know, and what kubectl's validation over it trips on.
void simplify(json::object& schema) {
  for (const char* name : {"allOf", "anyOf", "oneOf", "not"}) schema.erase(name);
  if (flag(schema, "nullable"))
    for (const char* name : {"type", "nullable", "items", "properties", "additionalProperties"}) schema.erase(name);
  if (flag(schema, "x-kubernetes-preserve-unknown-fields"))
    for (const char* name : {"items", "properties"}) schema.erase(name);
  if (flag(schema, "x-kubernetes-int-or-string")) schema.erase("type");
  // A null would not be accepted for a required field.
  if (json::value* required = schema.if_contains("required")) {
    json::array kept;
    for (const json::value& name : json::get_array(required)) {
      const json::value* property = json::find(schema.if_contains("properties"), json::get_string(&name));
      if (!json::get_bool(json::find(property, "nullable"))) kept.push_back(name);
    }
    if (kept.empty()) schema.erase("required");
    else *required = std::move(kept);
  }
  if (json::get_bool(json::find(schema.if_contains("additionalProperties"), "nullable"))) schema.erase("additionalProperties");
}

void walk(json::value& value, bool v2) {
  if (!value.is_object()) return;
  json::object& schema = value.get_object();
  if (v2) simplify(schema);
  if (json::value* properties = schema.if_contains("properties"); properties != nullptr && properties->is_object())
    for (auto& m : properties->get_object()) walk(m.value(), v2);
  if (json::value* more = schema.if_contains("additionalProperties")) walk(*more, v2);
  if (json::value* items = schema.if_contains("items")) walk(*items, v2);
  if (!flag(schema, "x-kubernetes-embedded-resource") || (v2 && flag(schema, "x-kubernetes-preserve-unknown-fields"))) return;
  json::object& properties = json::ensure_object(schema, "properties");
  add_type_meta(properties);
  properties["metadata"] = metadata("ObjectMeta", kMetadata, v2);
}

json::array gvk(const CustomVersion& v, std::string_view kind) {
  return {json::object{{"group", v.owner->group()}, {"kind", json::key(kind)}, {"version", v.name}}};
}

json::object kind_schema(const CustomVersion& v, bool v2) {
  json::object out;
  if (!v.open_api.is_object() || (v2 && v.schema.preserve_unknown)) {
    out["type"] = "object";
  } else {
    json::value copy = v.open_api;
    walk(copy, v2);
    out = std::move(copy.get_object());
    json::object& properties = json::ensure_object(out, "properties");
    properties["metadata"] = metadata("ObjectMeta", kMetadata, v2);
    add_type_meta(properties);
  }
  out["x-kubernetes-group-version-kind"] = gvk(v, v.info.kind);
  return out;
}

json::object list_schema(const CustomVersion& v, const std::string& name, std::string_view list_kind, bool v2) {
  json::object items{{"description", "List of " + std::string(v.owner->plural()) + ". More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"},
                     {"type", "array"}, {"items", reference(name, v2)}};
  json::object properties{{"items", std::move(items)}, {"metadata", metadata("ListMeta", kListMetadata, v2)}};
  add_type_meta(properties);
  json::object out{{"description", std::string(list_kind) + " is a list of " + std::string(v.info.kind)}, {"type", "object"}, {"required", json::array{json::value("items")}}};
  out["properties"] = std::move(properties);
  out["x-kubernetes-group-version-kind"] = gvk(v, list_kind);
  return out;
}

}  // namespace

machinery::CustomSchemas open_api(const CustomResources& resources, bool v2) {
  machinery::CustomSchemas out;
  for (const auto& resource : resources) {
    for (const auto& version : resource->versions()) {
      if (!version->served) continue;
      version->add_infos(out.resources);
      std::string name = machinery::custom_schema_name(resource->group(), version->name, version->info.kind);
      out.schemas[name] = kind_schema(*version, v2);
      out.schemas[name + "List"] = list_schema(*version, name, resource->list_kind(), v2);
    }
  }
  return out;
}

}  // namespace kcube::apiserver::extension
