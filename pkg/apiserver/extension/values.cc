#include "pkg/apiserver/extension/values.h"

#include <set>

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/schema_check.h"

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

}  // namespace

std::vector<Cause> validate_values(const CustomVersion& version, const json::value& object, const json::value* old, std::string_view subresource) {
  (void)subresource;
  std::vector<Cause> causes = check_schema(version.schema, object, old);
  check_lists(version.schema, object, "", causes);
  return causes;
}

}  // namespace kcube::apiserver::extension
