#include "pkg/apiserver/machinery/validation.h"

#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

struct Entry {
  std::string_view group, resource;
  Rule rule;
};
// One row a resource; the rules are in validation_<topic>.cc.
constexpr Entry kRules[] = {
    {"", "configmaps", validate_config_map},
};

}  // namespace

std::vector<Cause> validate(const api::ResourceInfo& resource, const json::value& object, const json::value* old) {
  std::vector<Cause> causes;
  for (const Entry& entry : kRules)
    if (entry.group == resource.group && entry.resource == resource.resource) entry.rule({resource.subresource, object, old, causes});
  return causes;
}

}  // namespace kcube::machinery
