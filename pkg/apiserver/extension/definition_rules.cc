#include "pkg/apiserver/extension/definition_rules.h"

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/rules.h"
#include "pkg/apiserver/extension/schema_check.h"

namespace kcube::apiserver::extension {
namespace {

// Every default and pattern beneath `schema`, which stands at `path`.
void check_parts(const Structural& schema, const std::string& path, std::vector<Cause>& causes) {
  if (schema.fallback) {
    std::string at = path + ".default";
    json::value copy = *schema.fallback;
    prune(copy, schema, schema.embedded, nullptr);
    if (copy != *schema.fallback) {
      causes.push_back(api::field_invalid(at, *schema.fallback, "must not have unknown fields"));
    } else {
      apply_defaults(copy, schema);
      for (Cause& cause : check_schema(schema, copy, nullptr)) {
        if (cause.field != "<nil>") cause.field = cause.field.empty() ? at : at + "." + cause.field;
        causes.push_back(std::move(cause));
      }
    }
  }
  if (!schema.pattern.empty())
    if (auto regex = cel::Regex::compile(schema.pattern); !regex)
      causes.push_back(api::field_invalid(path + ".pattern", json::value(schema.pattern), "must be a valid regular expression, but isn't: " + regex.error().message()));
  for (const auto& [name, part] : schema.properties) check_parts(part, path + ".properties[" + name + "]", causes);
  if (schema.additional) check_parts(*schema.additional, path + ".additionalProperties", causes);
  if (schema.items) check_parts(*schema.items, path + ".items", causes);
}

}  // namespace

std::vector<Cause> validate_definition(const json::value& definition, const json::value* old, std::string_view subresource) {
  std::vector<Cause> causes;
  const json::value* versions = json::at(&definition, {"spec", "versions"});
  if (!subresource.empty() || versions == nullptr) return causes;
  const json::value* before = old == nullptr ? nullptr : json::at(old, {"spec", "versions"});
  if (before != nullptr && *before == *versions) return causes;
  const json::array& list = json::get_array(versions);
  auto schema_of = [](const json::value& version) { return json::at(&version, {"schema", "openAPIV3Schema"}); };
  bool one = true;   // the real server speaks of a schema that all share as of one above them
  for (const json::value& version : list) {
    const json::value *a = schema_of(version), *b = schema_of(list.front());
    one &= a == b || (a != nullptr && b != nullptr && *a == *b);
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const json::value* schema = schema_of(list[i]);
    if (schema == nullptr || (one && i > 0)) continue;
    std::string path = one ? "spec.validation.openAPIV3Schema" : "spec.versions[" + std::to_string(i) + "].schema.openAPIV3Schema";
    Structural structural = Structural::from_json(*schema);
    check_parts(structural, path, causes);
    Rules::check(structural, path, causes);
  }
  return causes;
}

}  // namespace kcube::apiserver::extension
