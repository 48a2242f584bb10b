#include "pkg/apiserver/machinery/validation_schema.h"

#include <algorithm>
#include <set>

namespace kcube::machinery {
namespace {

constexpr std::string_view kIntOrString = "x-kubernetes-int-or-string", kPreserve = "x-kubernetes-preserve-unknown-fields",
                           kEmbedded = "x-kubernetes-embedded-resource", kListType = "x-kubernetes-list-type",
                           kListMapKeys = "x-kubernetes-list-map-keys", kMapType = "x-kubernetes-map-type";

bool is_schema(const Cursor& c) { return c.present() && c.value()->is_object(); }

void check_unsupported(const Cursor& schema) {
  for (std::string_view member : {"id", "definitions", "dependencies", "patternProperties", "additionalItems"})
    if (schema[member].present() && !schema[member].empty()) schema[member].forbidden(std::string(member) + " is not supported");
  if (!schema["$ref"].empty()) schema["$ref"].forbidden("$ref is not supported");
  if (schema["uniqueItems"].flag())
    schema["uniqueItems"].forbidden("uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
  if (schema["items"].present() && schema["items"].value()->is_array())
    schema["items"].forbidden("items must be a schema object and not an array");
}

void check_type(const Cursor& schema, std::string_view place) {
  Cursor type = schema["type"];
  bool loose = schema[kIntOrString].flag() || schema[kPreserve].flag();
  if (place == "root") {
    if (type.empty())
      type.required("must not be empty at the root");
    else if (type.text() != "object")
      type.invalid("must be object at the root");
  } else if (type.empty()) {
    if (!loose) type.required("must not be empty for specified " + std::string(place));
  } else if (!type.in({"array", "boolean", "integer", "number", "object", "string"})) {
    type.not_supported({"array", "boolean", "integer", "number", "object", "string"});
  }
}

// metadata is everybody's: a schema may only narrow the name.
void check_identity(const Cursor& schema) {
  Cursor properties = schema["properties"];
  for (std::string_view name : {"apiVersion", "kind"}) {
    Cursor type = properties.entry(name)["type"];
    if (properties.entry(name).present() && type.text() != "string") type.invalid("must be string");
  }
  Cursor metadata = properties.entry("metadata");
  if (metadata.present() && metadata["type"].text() != "object") metadata["type"].invalid("must be object");
}

void check_root(const Cursor& schema) {
  if (schema["nullable"].flag()) schema["nullable"].forbidden("nullable cannot be true at the root");
  if (schema["additionalProperties"].present()) schema["additionalProperties"].forbidden("must not be used at the root");
  check_identity(schema);
  Cursor metadata = schema["properties"].entry("metadata");
  for (const auto& m : json::get_object(metadata.value())) {
    std::string_view name = json::view(m.key());
    bool fine = name == "type" || name == "description";
    if (name == "properties")
      fine = std::ranges::all_of(json::get_object(&m.value()), [](const auto& p) { return p.key() == "name" || p.key() == "generateName"; });
    if (fine) continue;
    metadata.forbidden("must not specify anything other than name and generateName, but metadata is implicitly specified");
    break;
  }
}

void check_list(const Cursor& schema) {
  Cursor list_type = schema[kListType], keys = schema[kListMapKeys], items = schema["items"], type = schema["type"];
  bool map = list_type.text() == "map";
  if (!list_type.empty() && type.text() != "array")
    type.empty() ? type.required("must be array if x-kubernetes-list-type is specified") : type.invalid("must be array if x-kubernetes-list-type is specified");
  if (!list_type.empty() && !list_type.in({"atomic", "set", "map"})) list_type.not_supported({"atomic", "set", "map"});
  if (!keys.empty() && !map)
    list_type.empty() ? list_type.required("must be map if x-kubernetes-list-map-keys is non-empty")
                      : list_type.invalid("must be map if x-kubernetes-list-map-keys is non-empty");
  if (list_type.text() == "set" && is_schema(items)) {
    Cursor map_type = items[kMapType];
    if (items["type"].text() == "object" && map_type.text() != "atomic")
      map_type.invalid(map_type.present() ? *map_type.value() : json::value(), "must be atomic as item of a list with x-kubernetes-list-type=set");
    if (items["type"].text() == "array" && !items[kListType].empty() && items[kListType].text() != "atomic")
      items[kListType].invalid("must be atomic as item of a list with x-kubernetes-list-type=set");
    if (items["nullable"].flag()) items["nullable"].forbidden("cannot be nullable when x-kubernetes-list-type is set");
  }
  if (!map) return;
  if (keys.empty()) return keys.required("must not be empty if x-kubernetes-list-type is map");
  if (!is_schema(items)) return;
  if (items["type"].text() != "object") return items["type"].invalid("must be object if parent array's x-kubernetes-list-type is map");
  std::set<std::string_view> seen;
  bool all_known = true, twice = false;
  for (const Cursor& key : keys.items()) {
    Cursor property = items["properties"].entry(key.text());
    twice |= !seen.insert(key.text()).second;
    all_known &= property.present();
    if (!property.present()) continue;
    if (property["type"].in({"object", "array"})) property["type"].invalid("must be a scalar type if parent array's x-kubernetes-list-type is map");
    bool required = std::ranges::any_of(json::get_array(items["required"].value()), [&](const json::value& r) { return json::get_string(&r) == key.text(); });
    if (!required && !property["default"].present())
      property["default"].required("this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
    if (property["nullable"].flag()) property["nullable"].forbidden("this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
  }
  if (!all_known) keys.invalid("entries must all be names of item properties");
  if (twice) keys.invalid("must not contain duplicate entries");
}

void check_extensions(const Cursor& schema, bool root) {
  Cursor type = schema["type"], map_type = schema[kMapType];
  Cursor preserve = schema[kPreserve];
  if (preserve.present() && !preserve.flag()) preserve.invalid("must be true or undefined");
  if (schema[kEmbedded].flag()) {
    if (type.text() != "object")
      type.empty() ? type.required("must be object if x-kubernetes-embedded-resource is true") : type.invalid("must be object if x-kubernetes-embedded-resource is true");
    if (schema["properties"].empty() && !preserve.flag())
      schema["properties"].required("must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
    if (!root) check_identity(schema);
  }
  if (!map_type.empty() && type.text() != "object")
    type.empty() ? type.required("must be object if x-kubernetes-map-type is specified") : type.invalid("must be object if x-kubernetes-map-type is specified");
  if (!map_type.empty() && !map_type.in({"atomic", "granular"})) map_type.not_supported({"atomic", "granular"});
  check_list(schema);
}

// anyOf: [{type: integer}, {type: string}] beside x-kubernetes-int-or-string, alone or as the first of an allOf.
bool spells_int_or_string(const json::value* any_of) {
  const json::array& parts = json::get_array(any_of);
  return parts.size() == 2 && parts[0] == json::value(json::object{{"type", "integer"}}) && parts[1] == json::value(json::object{{"type", "string"}});
}

void check_logic(const Cursor& schema, bool int_or_string);

// A part of anyOf and the like only narrows what is said outside.
void check_narrowing(const Cursor& part, bool int_or_string) {
  if (!is_schema(part)) return;
  for (std::string_view name : {"title", "description"})
    if (!part[name].empty()) part[name].forbidden("must be empty to be structural");
  if (part["default"].present()) part["default"].forbidden("must be undefined to be structural");
  if (part["additionalProperties"].present()) part["additionalProperties"].forbidden("must be undefined to be structural");
  if (!part["type"].empty()) part["type"].forbidden("must be empty to be structural");
  if (part["nullable"].flag()) part["nullable"].forbidden("must be false to be structural");
  for (std::string_view name : {kEmbedded, kPreserve, kIntOrString})
    if (part[name].flag()) part[name].forbidden("must be false to be structural");
  for (std::string_view name : {kListType, kMapType})
    if (part[name].present()) part[name].forbidden("must be undefined to be structural");
  if (!part[kListMapKeys].empty()) part[kListMapKeys].forbidden("must be empty to be structural");
  check_narrowing(part["items"], false);
  for (const auto& [name, property] : part["properties"].members()) check_narrowing(property, false);
  check_logic(part, int_or_string);
}

void check_logic(const Cursor& schema, bool int_or_string) {
  for (std::string_view logic : {"allOf", "anyOf", "oneOf"}) {
    if (logic == "anyOf" && int_or_string && spells_int_or_string(schema[logic].value())) continue;
    for (const Cursor& part : schema[logic].items()) check_narrowing(part, int_or_string && logic == "allOf");
  }
  if (schema["not"].present()) check_narrowing(schema["not"], false);
}

void check(const Cursor& schema, std::string_view place) {
  if (!is_schema(schema)) return;
  bool root = place == "root";
  check_type(schema, place);
  check_unsupported(schema);
  if (root) check_root(schema);
  check_extensions(schema, root);
  for (const auto& [name, property] : schema["properties"].members()) check(property, "object fields");
  Cursor more = schema["additionalProperties"];
  if (more.present() && !root) {
    if (!schema["properties"].empty()) more.forbidden("additionalProperties and properties are mutual exclusive");
    check(more, "object fields");
  }
  if (schema["type"].text() == "array" && !schema["items"].present()) schema["items"].required("must be specified");
  check(schema["items"], "array items");
  check_logic(schema, schema[kIntOrString].flag());
}

}  // namespace

void validate_structural_schema(const Cursor& schema) { check(schema, "root"); }

}  // namespace kcube::machinery
