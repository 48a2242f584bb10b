#include "pkg/apiserver/extension/structural.h"

#include <algorithm>

#include "pkg/api/json_members.h"

namespace kcube::apiserver::extension {
namespace {

// Fields that a schema does not have, of one object: more are not named.
constexpr size_t kMostNamed = 100;

std::optional<double> number(const json::value& schema, std::string_view name) {
  const json::value* v = json::find(&schema, name);
  if (v == nullptr || !v->is_number()) return std::nullopt;
  return json::get_double(v);
}

std::optional<int64_t> integer(const json::value& schema, std::string_view name) {
  const json::value* v = json::find(&schema, name);
  if (v == nullptr || !v->is_number()) return std::nullopt;
  return json::get_int(v);
}

std::vector<Structural> list(const json::value& schema, std::string_view name) {
  std::vector<Structural> out;
  for (const json::value& one : json::get_array(json::find(&schema, name))) out.push_back(Structural::from_json(one));
  return out;
}

std::vector<std::string> texts(const json::value& schema, std::string_view name) {
  std::vector<std::string> out;
  for (const json::value& one : json::get_array(json::find(&schema, name))) out.emplace_back(json::get_string(&one));
  return out;
}

void read_bounds(Structural& s, const json::value& schema) {
  s.minimum = number(schema, "minimum");
  s.maximum = number(schema, "maximum");
  s.multiple_of = number(schema, "multipleOf");
  s.exclusive_minimum = json::get_bool(schema, {"exclusiveMinimum"});
  s.exclusive_maximum = json::get_bool(schema, {"exclusiveMaximum"});
  s.unique_items = json::get_bool(schema, {"uniqueItems"});
  s.min_length = integer(schema, "minLength");
  s.max_length = integer(schema, "maxLength");
  s.min_items = integer(schema, "minItems");
  s.max_items = integer(schema, "maxItems");
  s.min_properties = integer(schema, "minProperties");
  s.max_properties = integer(schema, "maxProperties");
  s.format = json::get_string(schema, {"format"});
  s.pattern = json::get_string(schema, {"pattern"});
  if (s.pattern.empty()) return;
  if (auto regex = cel::Regex::compile(s.pattern)) s.regex = std::move(*regex);
}

void read_parts(Structural& s, const json::value& schema) {
  for (const auto& m : json::get_object(json::find(&schema, "properties"))) s.properties.emplace(std::string(m.key()), Structural::from_json(m.value()));
  if (const json::value* more = json::find(&schema, "additionalProperties")) {
    if (more->is_object()) s.additional = std::make_unique<Structural>(Structural::from_json(*more));
    else s.any_additional = json::get_bool(more);
  }
  if (const json::value* items = json::find(&schema, "items"); items != nullptr && items->is_object())
    s.items = std::make_unique<Structural>(Structural::from_json(*items));
  s.all_of = list(schema, "allOf");
  s.any_of = list(schema, "anyOf");
  s.one_of = list(schema, "oneOf");
  if (const json::value* negated = json::find(&schema, "not"); negated != nullptr && negated->is_object())
    s.negated = std::make_unique<Structural>(Structural::from_json(*negated));
}

void summarize(Structural& s) {
  s.has_defaults = s.fallback.has_value();
  s.has_rules = !s.rules.is_null();
  auto take = [&](const Structural& part) {
    s.has_defaults |= part.has_defaults;
    s.has_rules |= part.has_rules;
  };
  for (const auto& [name, part] : s.properties) take(part);
  if (s.additional) take(*s.additional);
  if (s.items) take(*s.items);
}

bool is_identity(std::string_view name) { return name == "apiVersion" || name == "kind" || name == "metadata"; }

void prune_at(json::value& value, const Structural& schema, bool resource, const std::string& path, std::vector<std::string>* removed) {
  if (value.is_array()) {
    if (!schema.items) return;
    size_t i = 0;
    for (json::value& item : value.get_array())
      prune_at(item, *schema.items, schema.items->embedded, removed ? path + "[" + std::to_string(i++) + "]" : path, removed);
    return;
  }
  if (!value.is_object()) return;
  json::object& object = value.get_object();
  std::vector<size_t> gone;
  for (auto it = object.begin(); it != object.end(); ++it) {
    std::string_view name = json::view(it->key());
    if (resource && is_identity(name)) continue;
    std::string at = removed == nullptr ? std::string() : path.empty() ? std::string(name) : path + "." + std::string(name);
    const Structural* part = schema.member(name);
    if (part != nullptr) {
      prune_at(it->value(), *part, part->embedded, at, removed);
    } else if (!schema.keeps_unknown()) {
      if (removed != nullptr && removed->size() < kMostNamed) removed->push_back(std::move(at));
      gone.push_back(static_cast<size_t>(it - object.begin()));
    }
  }
  if (!gone.empty()) json::erase_members(object, gone);
}

// A null that the schema does not allow.
bool is_stray_null(const json::value& value, const Structural& schema) { return value.is_null() && !schema.nullable; }

}  // namespace

Structural Structural::from_json(const json::value& schema) {
  Structural s;
  s.type = json::get_string(schema, {"type"});
  s.nullable = json::get_bool(schema, {"nullable"});
  s.preserve_unknown = json::get_bool(schema, {"x-kubernetes-preserve-unknown-fields"});
  s.int_or_string = json::get_bool(schema, {"x-kubernetes-int-or-string"});
  s.embedded = json::get_bool(schema, {"x-kubernetes-embedded-resource"});
  s.list_type = json::get_string(schema, {"x-kubernetes-list-type"});
  s.map_type = json::get_string(schema, {"x-kubernetes-map-type"});
  s.list_map_keys = texts(schema, "x-kubernetes-list-map-keys");
  if (const json::value* fallback = json::find(&schema, "default")) s.fallback = *fallback;
  for (const json::value& v : json::get_array(json::find(&schema, "enum"))) s.enumeration.push_back(v);
  s.required = texts(schema, "required");
  if (const json::value* rules = json::find(&schema, "x-kubernetes-validations"); rules != nullptr && !json::get_array(rules).empty()) s.rules = *rules;
  read_bounds(s, schema);
  read_parts(s, schema);
  summarize(s);
  return s;
}

const Structural* Structural::member(std::string_view name) const {
  auto it = properties.find(name);
  return it != properties.end() ? &it->second : additional.get();
}

void prune(json::value& value, const Structural& schema, bool root, std::vector<std::string>* removed) {
  prune_at(value, schema, root || schema.embedded, "", removed);
}

bool apply_defaults(json::value& value, const Structural& schema) {
  bool changed = false;
  if (value.is_array() && schema.items) {
    for (json::value& item : value.get_array()) {
      if (is_stray_null(item, *schema.items) && schema.items->fallback) {
        item = *schema.items->fallback;
        changed = true;
      }
      changed |= apply_defaults(item, *schema.items);
    }
    return changed;
  }
  if (!value.is_object()) return false;
  json::object& object = value.get_object();
  std::vector<size_t> gone;
  for (auto it = object.begin(); it != object.end(); ++it) {
    const Structural* part = schema.member(json::view(it->key()));
    if (part == nullptr || !is_stray_null(it->value(), *part)) {
      if (part != nullptr) changed |= apply_defaults(it->value(), *part);
      continue;
    }
    changed = true;
    if (!part->fallback) {
      gone.push_back(static_cast<size_t>(it - object.begin()));
      continue;
    }
    it->value() = *part->fallback;
    apply_defaults(it->value(), *part);
  }
  if (!gone.empty()) json::erase_members(object, gone);
  if (!schema.has_defaults) return changed;
  for (const auto& [name, part] : schema.properties) {
    if (!part.fallback || object.contains(name)) continue;
    apply_defaults(object[name] = *part.fallback, part);
    changed = true;
  }
  return changed;
}

}  // namespace kcube::apiserver::extension
