// Plugins that say one thing: AlwaysAdmit, AlwaysDeny, DenyServiceExternalIPs. None is on by default.
#include <algorithm>

#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

Result<void> deny(Admission& a) { return a.forbid("admission control is denying all modifications"); }

Result<void> check_external_ips(Admission& a) {
  if (!a.is("", "services") || a.object == nullptr) return {};
  const json::array& before = json::get_array(json::at(a.old, {"spec", "externalIPs"}));
  for (const json::value& ip : json::get_array(json::at(a.object, {"spec", "externalIPs"})))
    if (std::ranges::find(before, ip) == before.end()) return a.forbid("Use of external IPs is denied by admission control");
  return {};
}

}  // namespace

const AdmissionPlugin kAlwaysAdmit{"AlwaysAdmit", nullptr, nullptr};
const AdmissionPlugin kAlwaysDeny{"AlwaysDeny", nullptr, deny};
const AdmissionPlugin kDenyServiceExternalIPs{"DenyServiceExternalIPs", nullptr, check_external_ips};

// These speak of PodGroups, Workloads and declared features of nodes, which a server of this version does not serve unless
// its feature gates say so: flags may name them, and there is nothing that they would look at.
const AdmissionPlugin kJobValidation{"JobValidation", nullptr, nullptr};
const AdmissionPlugin kNodeDeclaredFeatureValidator{"NodeDeclaredFeatureValidator", nullptr, nullptr};
const AdmissionPlugin kPodGroupProtection{"PodGroupProtection", nullptr, nullptr};
const AdmissionPlugin kPodGroupWorkloadExists{"PodGroupWorkloadExists", nullptr, nullptr};

}  // namespace kcube::apiserver
