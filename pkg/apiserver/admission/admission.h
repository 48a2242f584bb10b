// Admission: what may still change or refuse a write after authorization. Plugins run in the order of the table in
// admission.cc, first all that mutate, then (after defaults and validation) all that only look.
//
// A plugin is a pair of functions in a file of its own; either may be null. To add one: a file here, a row there.
// Source: the Kubernetes docs on admission controllers.
#pragma once

#include "pkg/apiserver/core.h"

namespace kcube::apiserver {

struct Admission {
  Core& core;
  Call& call;
  Operation operation;
  json::value* object = nullptr;        // null for a deletion
  const json::value* old = nullptr;     // null for a creation

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
    kTaintNodesByCondition, kDefaultStorageClass, kDefaultIngressClass, kCertificates, kRuntimeClass;

Result<void> mutate(Admission& admission);
Result<void> admit(Admission& admission);

}  // namespace kcube::apiserver
