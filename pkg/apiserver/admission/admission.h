// Admission: what may still change or refuse a write after authorization. Plugins run in the order of the table in
// control.cc, first all that mutate, then (after defaults and validation) all that only look.
//
// A plugin is a pair of functions in a file of its own; either may be null. To add one: a file here, a row there.
// Source: the Kubernetes docs on admission controllers.
#pragma once

#include <set>
#include <string>

#include "pkg/apiserver/core.h"
#include "pkg/client/client.h"

namespace kcube::apiserver {

// Mutating plugins run a second time when a webhook or policy changed what others had seen. Source: reinvocationPolicy in
// the API reference of admissionregistration.k8s.io/v1.
struct Reinvocation {
  int round = 0;
  bool again = false;                   // a second round is due
  std::set<std::string> invoked;        // those with IfNeeded that have been called
  std::set<std::string> due;            // of them, those to call again
  json::value last;                     // the object as the last of them left it
};

struct Admission {
  Core& core;
  Call& call;
  Operation operation;
  json::value* object = nullptr;        // null for a deletion
  const json::value* old = nullptr;     // null for a creation
  const client::DeleteOptions* deletion = nullptr;   // of a deletion
  // `object` is of the kind that the request names, not the whole stored object: bindings, options of connections.
  bool verbatim = false;
  Reinvocation* rounds = nullptr;       // while mutating

  bool is(std::string_view group, std::string_view resource, std::string_view subresource = {}) const {
    return call.resource->is(group, resource) && call.resource->subresource() == subresource;
  }
  // 403 "pods "x" is forbidden: …".
  std::unexpected<Status> forbid(std::string_view message) const;
};

struct AdmissionPlugin {
  std::string_view name;
  Result<void> (*mutate)(Admission&);
  Result<void> (*admit)(Admission&);
};
extern const AdmissionPlugin kNamespaceLifecycle, kServiceAccount, kLimitRanger, kNodeRestriction, kDefaultTolerationSeconds, kPriority,
    kTaintNodesByCondition, kDefaultStorageClass, kDefaultIngressClass, kRuntimeClass,
    kMutatingAdmissionWebhook, kValidatingAdmissionWebhook, kResourceQuota, kValidatingAdmissionPolicy, kMutatingAdmissionPolicy, kPodSecurity, kAlwaysPullImages, kStorageObjectInUseProtection,
    kPersistentVolumeClaimResize, kPodTopologyLabels, kClusterTrustBundleAttest, kLimitPodHardAntiAffinityTopology,
    kCertificateApproval, kCertificateSigning, kCertificateSubjectRestriction, kDenyServiceExternalIPs, kExtendedResourceToleration,
    kAlwaysAdmit, kAlwaysDeny, kNamespaceExists, kNamespaceAutoProvision, kOwnerReferencesPermissionEnforcement, kPodNodeSelector,
    kPodTolerationRestriction, kEventRateLimit, kImagePolicyWebhook, kPodResizeValidator, kJobValidation, kNodeDeclaredFeatureValidator,
    kPodGroupProtection, kPodGroupWorkloadExists;

Result<void> mutate(Admission& admission);
Result<void> admit(Admission& admission);
// Both, for what is asked or connected and never stored: `object` is the body or the options of a connection.
Result<void> admit_request(Core& core, Call& call, Operation operation, json::value& object);

}  // namespace kcube::apiserver
