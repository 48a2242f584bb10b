// ResourceClaims and their templates: who may have a device that others use as well, for looking after it (KEP-5018).
#include <iterator>

#include "pkg/api/errors.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kAdminLabel = "resource.kubernetes.io/admin-access";

bool admin_may(const Write& write) {
  ObjectPtr ns = write.core.get("", "namespaces", "", write.call.ns);
  return ns != nullptr && json::get_string(json::find(json::at(&ns->value(), {"metadata", "labels"}), kAdminLabel)) == "true";
}

// Told first. The spec never changes afterwards.
void check_admin_access(const json::value* spec, const Write& write, std::vector<Cause>& causes) {
  std::vector<Cause> found;
  const json::array& requests = json::get_array(json::at(spec, {"devices", "requests"}));
  for (size_t i = 0; i < requests.size(); ++i)
    if (const json::value* exactly = json::find(&requests[i], "exactly"); exactly != nullptr && json::get_bool(*exactly, {"adminAccess"}) && !admin_may(write))
      found.push_back(api::field_forbidden("spec.devices.requests[" + std::to_string(i) + "].adminAccess", "admin access to devices requires the `" + std::string(kAdminLabel) + ": true` label on the containing namespace"));
  causes.insert(causes.begin(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
}

void validate_claim(const json::value& object, const json::value* old, Write& write, std::vector<Cause>& causes) {
  if (old == nullptr) check_admin_access(json::find(&object, "spec"), write, causes);
}

void validate_claim_template(const json::value& object, const json::value* old, Write& write, std::vector<Cause>& causes) {
  if (old == nullptr) check_admin_access(json::at(&object, {"spec", "spec"}), write, causes);
}

}  // namespace

const Strategy kResourceClaimStrategy{.has_status = true, .metadata_by_status = false, .returns_deleted = true, .validate = validate_claim};
const Strategy kResourceClaimTemplateStrategy{.returns_deleted = true, .validate = validate_claim_template};

}  // namespace kcube::apiserver
