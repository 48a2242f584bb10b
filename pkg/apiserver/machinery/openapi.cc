#include "pkg/apiserver/machinery/openapi.h"

#include <map>
#include <set>

#include "pkg/api/json.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::ListType;
using api::ResourceInfo;
using api::Schema;
using api::Shape;
using api::Type;

constexpr const char* kVersion = "v1.36.0";
enum class Dialect { v2, v3 };

json::value str(std::string_view s) { return json::value(json::key(s)); }

std::string reference(std::string_view name, Dialect dialect) {
  return (dialect == Dialect::v3 ? "#/components/schemas/" : "#/definitions/") + std::string(name);
}
std::string reference(const Type& type, Dialect dialect) { return reference(type.name, dialect); }

json::object scalar_schema(FieldKind kind, Dialect dialect) {
  switch (kind) {
    case FieldKind::boolean: return {{"type", "boolean"}};
    case FieldKind::int32: return {{"type", "integer"}, {"format", "int32"}};
    case FieldKind::int64: return {{"type", "integer"}, {"format", "int64"}};
    case FieldKind::number: return {{"type", "number"}, {"format", "double"}};
    case FieldKind::bytes: return {{"type", "string"}, {"format", "byte"}};
    case FieldKind::time:
    case FieldKind::micro_time: return {{"type", "string"}, {"format", "date-time"}};
    case FieldKind::quantity:
      if (dialect == Dialect::v2) return {{"type", "string"}};
      return {{"oneOf", json::array{json::object{{"type", "string"}}, json::object{{"type", "number"}}}}};
    case FieldKind::int_or_string:
      if (dialect == Dialect::v2) return {{"type", "string"}, {"format", "int-or-string"}};
      return {{"format", "int-or-string"}, {"oneOf", json::array{json::object{{"type", "integer"}}, json::object{{"type", "string"}}}}};
    case FieldKind::raw: return {{"type", "object"}};
    case FieldKind::any: return {};
    case FieldKind::string:
    case FieldKind::message: break;
  }
  return {{"type", "string"}};
}

// The schema of one element, beneath lists and maps.
json::object element_schema(const Field& field, Dialect dialect) {
  if (field.type != nullptr) {
    json::object ref{{"$ref", str(reference(*field.type, dialect))}};
    if (dialect == Dialect::v2) return ref;
    // OpenAPI 3.0 ignores what stands beside a $ref, so it is wrapped.
    return {{"allOf", json::array{std::move(ref)}}};
  }
  return scalar_schema(field.kind, dialect);
}

json::object field_schema(const Field& field, Dialect dialect) {
  json::object out = element_schema(field, dialect);
  if (!field.enum_values.empty()) {
    json::array values;
    for (std::string_view v : field.enum_values) values.push_back(str(v));
    out["enum"] = std::move(values);
  }
  switch (field.shape) {
    case Shape::single: break;
    case Shape::list: out = {{"type", "array"}, {"items", std::move(out)}}; break;
    case Shape::map: out = {{"type", "object"}, {"additionalProperties", std::move(out)}}; break;
    case Shape::map_of_list:
      out = {{"type", "object"}, {"additionalProperties", json::object{{"type", "array"}, {"items", std::move(out)}}}};
      break;
  }
  if (!field.default_json.empty() && field.shape == Shape::single) out["default"] = json::parse(field.default_json).value_or(json::value());
  if (field.shape == Shape::list) {
    out["x-kubernetes-list-type"] = field.list_type == ListType::map ? "map" : field.list_type == ListType::set ? "set" : "atomic";
    if (!field.list_map_keys.empty()) {
      json::array keys;
      for (std::string_view k : field.list_map_keys) keys.push_back(str(k));
      out["x-kubernetes-list-map-keys"] = std::move(keys);
    }
  }
  if (field.patch_merge || field.patch_retain_keys) {
    out["x-kubernetes-patch-strategy"] = field.patch_merge && field.patch_retain_keys ? "merge,retainKeys" : field.patch_merge ? "merge" : "retainKeys";
    if (!field.patch_merge_key.empty()) out["x-kubernetes-patch-merge-key"] = str(field.patch_merge_key);
  }
  return out;
}

json::object gvk(std::string_view group, std::string_view version, std::string_view kind) {
  return {{"group", str(group)}, {"kind", str(kind)}, {"version", str(version)}};
}

// What people ask about by `kubectl explain` most, on kinds of every sort.
struct Description {
  std::string_view field, text;
};
constexpr Description kMetadataDescriptions[] = {
    {"annotations", "Annotations is a map of values that tools keep with an object. They are not queryable."},
    {"creationTimestamp", "CreationTimestamp is a timestamp of the server time when this object was created. It is set by the system, in RFC3339 form and UTC."},
    {"deletionGracePeriodSeconds", "Number of seconds that this object may take to end before it is removed. Only set when deletionTimestamp is set as well."},
    {"deletionTimestamp", "DeletionTimestamp is the time at and after which this object will be deleted. It is set by the server when deletion is asked for."},
    {"finalizers", "Must be empty before the object is removed. Each entry names who will do something first, and remove it."},
    {"generateName", "GenerateName is a prefix for a unique name that the server makes when no name is given."},
    {"generation", "A number that counts the states of the desired state. Set by the system."},
    {"labels", "Map of keys and values to organize and select objects by."},
    {"managedFields", "ManagedFields maps who manages what part of the object, in which version. For server-side apply."},
    {"name", "Name must be unique within a namespace. It cannot be changed."},
    {"namespace", "Namespace is the space within which the name is unique. It cannot be changed."},
    {"ownerReferences", "Objects that this one depends on. When all of them are gone it is garbage collected."},
    {"resourceVersion", "An opaque value by which clients can tell whether an object has changed, and watch from there."},
    {"selfLink", "No longer set by the system."},
    {"uid", "UID is unique in time and space. It is made by the server at creation and never changes."},
};
std::string_view description_of(const Type& type, std::string_view field) {
  if (type.short_name != "ObjectMeta") return {};
  for (const Description& d : kMetadataDescriptions)
    if (d.field == field) return d.text;
  return {};
}

json::object type_schema(const Type& type, Dialect dialect) {
  json::object out;
  if (type.scalar != FieldKind::message) {
    out = scalar_schema(type.scalar, dialect);
  } else {
    out["type"] = "object";
    json::object properties;
    json::array required;
    for (const Field& field : type.fields) {
      json::object property = field_schema(field, dialect);
      if (std::string_view text = description_of(type, field.name); !text.empty()) property["description"] = str(text);
      properties[json::key(field.name)] = std::move(property);
      if (field.required) required.push_back(str(field.name));
    }
    if (!required.empty()) out["required"] = std::move(required);
    if (!properties.empty()) out["properties"] = std::move(properties);
    if (type.atomic) out["x-kubernetes-map-type"] = "atomic";
  }
  out["description"] = str(std::string(type.short_name) + " of " + std::string(type.package) + ".");
  if (!type.kind.empty()) out["x-kubernetes-group-version-kind"] = json::array{gvk(type.group, type.version, type.kind)};
  return out;
}

// Adds `type` and everything it refers to.
void collect(const Type& type, std::set<const Type*>& into) {
  if (!into.insert(&type).second) return;
  for (const Field& field : type.fields)
    if (field.type != nullptr) collect(*field.type, into);
}

std::string group_version_path(const ResourceInfo& r) {
  return r.group.empty() ? "api/" + std::string(r.version) : "apis/" + std::string(r.group) + "/" + std::string(r.version);
}

const Type* list_type(const Schema& schema, const ResourceInfo& r) {
  return schema.find_kind(r.kind_group, r.kind_version, std::string(r.kind) + "List");
}

// The schema of what a resource's bodies are; empty when they have none.
std::string body_name(const ResourceInfo& r) {
  if (r.custom && r.subresource != "scale") return custom_schema_name(r.kind_group, r.kind_version, r.kind);
  return r.type == nullptr ? std::string() : std::string(r.type->name);
}
std::string list_name(const Schema& schema, const ResourceInfo& r) {
  if (r.custom) return body_name(r) + "List";
  const Type* type = list_type(schema, r);
  return type == nullptr ? std::string() : std::string(type->name);
}

json::object parameter(std::string_view name, std::string_view in, std::string_view type, Dialect dialect) {
  json::object out{{"name", str(name)}, {"in", str(in)}};
  if (dialect == Dialect::v3) out["schema"] = json::object{{"type", str(type)}, {"uniqueItems", true}};
  else out["type"] = str(type);
  if (in == "path") out["required"] = true;
  return out;
}

struct Operation {
  std::string_view method, verb, action;
  bool collection;   // of the path without a name
  bool body;
};
constexpr Operation kOperations[] = {
    {"get", "list", "list", true, false},    {"post", "create", "post", true, true}, {"delete", "deletecollection", "deletecollection", true, false},
    {"get", "get", "get", false, false},     {"put", "update", "put", false, true},  {"patch", "patch", "patch", false, true},
    {"delete", "delete", "delete", false, false},
};

class PathBuilder {
 public:
  PathBuilder(const Schema& schema, Dialect dialect) : schema_(schema), dialect_(dialect) {}

  void add(const ResourceInfo& r, json::object& paths) {
    std::string base = "/" + group_version_path(r);
    if (r.namespaced) base += "/namespaces/{namespace}";
    base += "/" + std::string(r.resource);
    for (const Operation& op : kOperations) {
      if (!r.has_verb(op.verb)) continue;
      // A subresource is created below its object's name.
      bool collection = op.collection && r.subresource.empty();
      std::string path = base;
      if (!collection) path += "/{name}";
      if (!r.subresource.empty()) path += "/" + std::string(r.subresource);
      json::object& item = json::ensure_object(paths, path);
      if (!item.contains("parameters")) item["parameters"] = path_parameters(r, collection);
      item[json::key(op.method)] = operation(r, op);
      if (op.verb == "list" && r.namespaced) {
        std::string all = "/" + group_version_path(r) + "/" + std::string(r.resource);
        json::ensure_object(paths, all)["get"] = operation(r, op);
      }
    }
  }

 private:
  json::array path_parameters(const ResourceInfo& r, bool collection) {
    json::array out;
    if (!collection) out.push_back(parameter("name", "path", "string", dialect_));
    if (r.namespaced) out.push_back(parameter("namespace", "path", "string", dialect_));
    out.push_back(parameter("pretty", "query", "string", dialect_));
    return out;
  }

  json::object operation(const ResourceInfo& r, const Operation& op) {
    json::array parameters;
    bool writes = op.method == "post" || op.method == "put" || op.method == "patch";
    if (writes) {
      for (const char* name : {"dryRun", "fieldManager", "fieldValidation"}) parameters.push_back(parameter(name, "query", "string", dialect_));
      if (op.method == "patch") parameters.push_back(parameter("force", "query", "boolean", dialect_));
    } else if (op.verb == "list" || op.verb == "deletecollection") {
      for (const char* name : {"continue", "fieldSelector", "labelSelector", "resourceVersion", "resourceVersionMatch"})
        parameters.push_back(parameter(name, "query", "string", dialect_));
      for (const char* name : {"limit", "timeoutSeconds"}) parameters.push_back(parameter(name, "query", "integer", dialect_));
      for (const char* name : {"allowWatchBookmarks", "sendInitialEvents", "watch"}) parameters.push_back(parameter(name, "query", "boolean", dialect_));
    } else if (op.method == "delete") {
      for (const char* name : {"dryRun", "propagationPolicy"}) parameters.push_back(parameter(name, "query", "string", dialect_));
      parameters.push_back(parameter("gracePeriodSeconds", "query", "integer", dialect_));
    }
    std::string body = body_name(r), answer = op.verb == "list" ? list_name(schema_, r) : body;
    json::object response{{"description", "OK"}};
    json::object out;
    if (dialect_ == Dialect::v3) {
      if (!answer.empty()) response["content"] = content("application/json", answer);
      if (op.body && !body.empty()) out["requestBody"] = json::object{{"required", true}, {"content", body_content(op, body)}};
    } else {
      out["produces"] = json::array{"application/json", "application/yaml"};
      out["consumes"] = op.method == "patch" ? json::array{"application/json-patch+json", "application/merge-patch+json",
                                                           "application/strategic-merge-patch+json", "application/apply-patch+yaml"}
                                             : json::array{"*/*"};
      if (!answer.empty()) response["schema"] = json::object{{"$ref", str(reference(answer, dialect_))}};
      if (op.body && !body.empty())
        parameters.push_back(json::object{{"name", "body"}, {"in", "body"}, {"required", true}, {"schema", json::object{{"$ref", str(reference(body, dialect_))}}}});
    }
    std::string id = std::string(op.verb) + operation_suffix(r);
    out["operationId"] = str(id);
    out["parameters"] = std::move(parameters);
    out["responses"] = json::object{{"200", std::move(response)}, {"401", json::object{{"description", "Unauthorized"}}}};
    out["x-kubernetes-action"] = str(r.subresource.empty() || r.type != nullptr ? op.action : "connect");
    out["x-kubernetes-group-version-kind"] = gvk(r.kind_group, r.kind_version, r.kind);
    return out;
  }

  json::object content(std::string_view media, std::string_view name) {
    return {{json::key(media), json::object{{"schema", json::object{{"$ref", str(reference(name, dialect_))}}}}}};
  }

  json::object body_content(const Operation& op, std::string_view name) {
    if (op.method != "patch") return content("*/*", name);
    json::object out;
    const Type* patch = schema_.find_type("io.k8s.apimachinery.pkg.apis.meta.v1.Patch");
    for (const char* media : {"application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"})
      out[media] = json::object{{"schema", json::object{{"$ref", str(reference(*patch, dialect_))}}}};
    return out;
  }

  static std::string operation_suffix(const ResourceInfo& r) {
    std::string out;
    for (std::string_view part : split(r.group.empty() ? std::string_view("core") : r.group.substr(0, r.group.find('.')), '-')) {
      out += part;
      if (!part.empty()) out[out.size() - part.size()] = static_cast<char>(std::toupper(part[0]));
    }
    std::string version(r.version), subresource(r.subresource);
    version[0] = 'V';
    if (!subresource.empty()) subresource[0] = static_cast<char>(std::toupper(subresource[0]));
    return out + version + (r.namespaced ? "Namespaced" : "") + std::string(r.kind) + subresource;
  }

  const Schema& schema_;
  Dialect dialect_;
};

void collect_resource(const Schema& schema, const ResourceInfo& r, std::set<const Type*>& types) {
  if (r.custom && r.subresource != "scale") return;
  if (r.type != nullptr) collect(*r.type, types);
  if (const Type* list = list_type(schema, r)) collect(*list, types);
}

void collect_common(const Schema& schema, std::set<const Type*>& types) {
  for (const char* name : {"Patch", "DeleteOptions", "Status", "WatchEvent", "APIResourceList"})
    if (const Type* t = schema.find_type(std::string("io.k8s.apimachinery.pkg.apis.meta.v1.") + name)) collect(*t, types);
}

void collect_metadata(const Schema& schema, std::set<const Type*>& types) {
  for (const char* name : {"ObjectMeta", "ListMeta"})
    if (const Type* t = schema.find_type(std::string("io.k8s.apimachinery.pkg.apis.meta.v1.") + name)) collect(*t, types);
}

json::object schemas_of(const std::set<const Type*>& types, Dialect dialect) {
  std::map<std::string_view, const Type*> sorted;
  for (const Type* t : types) sorted[t->name] = t;
  json::object out;
  for (const auto& [name, type] : sorted) out[json::key(name)] = type_schema(*type, dialect);
  return out;
}

}  // namespace

std::string custom_schema_name(std::string_view group, std::string_view version, std::string_view kind) {
  std::string name;
  auto labels = split(group, '.');
  for (auto it = labels.rbegin(); it != labels.rend(); ++it) name += std::string(*it) + ".";
  return name + std::string(version) + "." + std::string(kind);
}

std::string openapi_v3_index(const Schema& schema, const CustomSchemas& custom) {
  json::object paths;
  auto add = [&](const std::string& gv, const std::string& content) {
    paths[gv] = json::object{{"serverRelativeURL", str("/openapi/v3/" + gv + "?hash=" + to_hex(std::to_string(stable_hash(content))))}};
  };
  // The hash names this build's document, so that clients may keep it.
  for (const ResourceInfo& r : schema.resources())
    if (std::string gv = group_version_path(r); !paths.contains(gv)) add(gv, gv + kVersion);
  std::map<std::string, std::string> contents;
  for (const ResourceInfo* r : custom.resources) {
    std::string& content = contents[group_version_path(*r)];
    content.append(r->resource).append("/").append(r->subresource).append("\n");
    if (const json::value* kind = custom.schemas.if_contains(body_name(*r))) json::append(content, *kind);
  }
  for (const auto& [gv, content] : contents) add(gv, content);
  return json::serialize(json::object{{"paths", std::move(paths)}});
}

std::string openapi_v3(const Schema& schema, const CustomSchemas& custom, std::string_view group_version) {
  std::set<const Type*> types;
  json::object paths, own;
  PathBuilder builder(schema, Dialect::v3);
  for (const ResourceInfo& r : schema.resources()) {
    if (group_version_path(r) != group_version) continue;
    builder.add(r, paths);
    collect_resource(schema, r, types);
  }
  for (const ResourceInfo* r : custom.resources) {
    if (group_version_path(*r) != group_version) continue;
    builder.add(*r, paths);
    collect_resource(schema, *r, types);
    for (const std::string& name : {body_name(*r), list_name(schema, *r)})
      if (const json::value* kind = custom.schemas.if_contains(name)) own[name] = *kind;
  }
  if (paths.empty()) return {};
  collect_common(schema, types);
  if (!own.empty()) collect_metadata(schema, types);
  json::object schemas = schemas_of(types, Dialect::v3);
  for (auto& kind : own) schemas[kind.key()] = std::move(kind.value());
  json::object out{{"openapi", "3.0.0"}, {"info", json::object{{"title", "Kubernetes"}, {"version", kVersion}}}, {"paths", std::move(paths)},
                   {"components", json::object{{"schemas", std::move(schemas)}}}};
  return json::serialize(out);
}

std::string openapi_v2(const Schema& schema, const CustomSchemas& custom) {
  std::set<const Type*> types;
  json::object paths;
  PathBuilder builder(schema, Dialect::v2);
  for (const ResourceInfo& r : schema.resources()) {
    builder.add(r, paths);
    collect_resource(schema, r, types);
  }
  for (const ResourceInfo* r : custom.resources) builder.add(*r, paths);
  collect_common(schema, types);
  json::object definitions = schemas_of(types, Dialect::v2);
  for (const auto& kind : custom.schemas) definitions[kind.key()] = kind.value();
  json::object out{{"swagger", "2.0"}, {"info", json::object{{"title", "Kubernetes"}, {"version", kVersion}}}, {"paths", std::move(paths)},
                   {"definitions", std::move(definitions)}};
  return json::serialize(out);
}

}  // namespace kcube::machinery
