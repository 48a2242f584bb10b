#include "pkg/apiserver/extension/values.h"

#include <algorithm>
#include <set>

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/schema_check.h"
#include "pkg/apiserver/machinery/validation.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::extension {
namespace {

// Sets have no element twice, maps no key.
void check_lists(const Structural& s, const json::value& v, const std::string& path, std::vector<Cause>& causes) {
  if (v.is_object()) {
    for (const auto& m : v.get_object()) {
      const Structural* part = s.member(json::view(m.key()));
      bool listed = s.properties.contains(std::string_view(m.key()));
      std::string at = !listed ? path + "[" + std::string(m.key()) + "]" : path.empty() ? std::string(m.key()) : path + "." + std::string(m.key());
      if (part != nullptr) check_lists(*part, m.value(), at, causes);
    }
    return;
  }
  if (!v.is_array() || !s.items) return;
  std::set<std::string> seen;
  size_t i = 0;
  for (const json::value& item : v.get_array()) {
    std::string at = path + "[" + std::to_string(i++) + "]";
    check_lists(*s.items, item, at, causes);
    if (s.list_type == "set") {
      if (!seen.insert(json::serialize(item)).second) causes.push_back(api::field_duplicate(at, item));
    } else if (s.list_type == "map" && item.is_object()) {
      json::object keys;
      for (const std::string& key : s.list_map_keys)
        if (const json::value* k = json::find(&item, key)) keys[key] = *k;
      if (!seen.insert(json::serialize(keys)).second) causes.push_back(api::field_duplicate(at, json::value(keys)));
    }
  }
}

// Embedded resources say what they are, and have metadata as any object has.
void check_embedded(const Structural& s, const json::value& v, const std::string& path, std::vector<Cause>& causes) {
  if (v.is_array() && s.items) {
    size_t i = 0;
    for (const json::value& item : v.get_array()) check_embedded(*s.items, item, path + "[" + std::to_string(i++) + "]", causes);
    return;
  }
  if (!v.is_object()) return;
  std::string prefix = path.empty() ? "" : path + ".";
  if (s.embedded) {
    for (const char* name : {"apiVersion", "kind"})
      if (json::get_string(json::find(&v, name)).empty()) causes.push_back(api::field_required(prefix + name));
    for (Cause& cause : machinery::validate_embedded_metadata(v)) {
      cause.field = prefix + cause.field;
      causes.push_back(std::move(cause));
    }
  }
  for (const auto& m : v.get_object())
    if (const Structural* part = s.member(json::view(m.key()))) check_embedded(*part, m.value(), prefix + std::string(m.key()), causes);
}

std::string_view go_type(const json::value& v) {
  if (v.is_bool()) return "bool";
  if (v.is_string()) return "string";
  if (v.is_array()) return "[]interface {}";
  if (v.is_object()) return "map[string]interface {}";
  return v.is_double() ? "float64" : "int64";
}

// What the scale subresource would show, and change, is a number of replicas.
void check_scale(const std::string& path, const json::value& object, std::vector<Cause>& causes) {
  const json::value* at = &object;
  std::string shown = "." + path;
  auto wrong = [&](const json::value& v, std::string_view wanted) {
    std::string text = v.is_string() ? std::string(json::view(v.get_string())) : json::serialize(v);
    causes.push_back(api::field_invalid(shown, json::value(0), shown + " accessor error: " + text + " is of the type " + std::string(go_type(v)) + ", expected " + std::string(wanted)));
  };
  for (std::string_view name : split(path, '.')) {
    if (!at->is_object()) return wrong(*at, "map[string]interface{}");
    at = json::find(at, name);
    if (at == nullptr) return;
  }
  if (at->is_double() || !at->is_number()) return wrong(*at, "int64");
  if (json::get_int(at) < 0) causes.push_back(api::field_invalid(shown, *at, "should be a non-negative integer"));
  if (json::get_int(at) > 2147483647) causes.push_back(api::field_invalid(shown, *at, "should be less than or equal to 2147483647"));
}

// Rules count on what the schema promises.
bool blocks_rules(const Cause& cause) {
  constexpr std::string_view kReasons[] = {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"};
  return std::ranges::find(kReasons, cause.reason) != std::end(kReasons);
}

}  // namespace

std::vector<Cause> validate_values(const CustomVersion& version, const json::value& object, const json::value* old, std::string_view subresource) {
  std::vector<Cause> causes = check_schema(version.schema, object, old);
  if (version.has_scale && subresource != "status") check_scale(version.scale.spec_replicas, object, causes);
  if (version.has_scale && subresource == "status") check_scale(version.scale.status_replicas, object, causes);
  check_embedded(version.schema, object, "", causes);
  check_lists(version.schema, object, "", causes);
  if (!version.rules) return causes;
  if (std::ranges::any_of(causes, blocks_rules))
    causes.push_back(api::field_invalid("<nil>", json::value(),
                                        "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"));
  else
    version.rules->evaluate(object, old, causes);
  return causes;
}

}  // namespace kcube::apiserver::extension
