#include "pkg/apiserver/admission/admission.h"

#include "pkg/api/errors.h"

namespace kcube::apiserver {
namespace {

// The order of kube-apiserver.
constexpr const AdmissionPlugin* kPlugins[] = {
    &kNamespaceLifecycle, &kLimitRanger,         &kServiceAccount,           &kNodeRestriction, &kTaintNodesByCondition,
    &kPriority,           &kDefaultTolerationSeconds, &kDefaultStorageClass, &kCertificates,    &kDefaultIngressClass,
    &kRuntimeClass,
};

}  // namespace

std::unexpected<Status> Admission::forbid(std::string_view message) const {
  return fail(api::forbidden(call.resource->group(), call.resource->resource(), call.name, message));
}

Result<void> mutate(Admission& admission) {
  for (const AdmissionPlugin* plugin : kPlugins) {
    if (plugin->mutate == nullptr) continue;
    if (auto done = plugin->mutate(admission); !done) return done;
  }
  return {};
}

Result<void> admit(Admission& admission) {
  for (const AdmissionPlugin* plugin : kPlugins) {
    if (plugin->admit == nullptr) continue;
    if (auto done = plugin->admit(admission); !done) return done;
  }
  return {};
}

}  // namespace kcube::apiserver
