// ConfigMaps and Secrets.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

constexpr size_t kDataLimit = 1024 * 1024;

json::value shown(std::string_view text) { return json::value(json::key(text)); }

}  // namespace

void validate_config_map(const Validation& v) {
  size_t total = 0;
  const json::object& binary = json::get_object(json::find(&v.object, "binaryData"));
  for (const char* member : {"data", "binaryData"}) {
    for (const auto& m : json::get_object(json::find(&v.object, member))) {
      std::string field = std::string(member) + "[" + std::string(m.key()) + "]";
      if (std::string problem = api::check_config_map_key(json::view(m.key())); !problem.empty()) v.add(api::field_invalid(field, shown(json::view(m.key())), problem));
      if (std::string_view(member) == "data" && binary.contains(m.key())) v.add(api::field_invalid(field, shown(json::view(m.key())), "duplicate of key present in binaryData"));
      total += json::get_string(&m.value()).size();
    }
  }
  if (total > kDataLimit) v.add(api::field_too_long("", kDataLimit));
  if (v.old == nullptr || !json::get_bool(*v.old, {"immutable"})) return;
  if (!json::get_bool(v.object, {"immutable"})) v.add(api::field_forbidden("immutable", "field is immutable when `immutable` is set"));
  for (const char* member : {"data", "binaryData"}) {
    if (json::get_object(json::find(&v.object, member)) != json::get_object(json::find(v.old, member)))
      v.add(api::field_forbidden(member, "field is immutable when `immutable` is set"));
  }
}

}  // namespace kcube::machinery
