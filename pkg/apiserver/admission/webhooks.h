// MutatingAdmissionWebhook and ValidatingAdmissionWebhook: configurations compiled, requests shown to those that match.
//
// Mutating webhooks are called one after another by the name of their configuration, validating ones at the same time.
// No lock is held over a call. Source: the API reference of admissionregistration.k8s.io/v1 and admission.k8s.io/v1, the
// Kubernetes docs on dynamic admission control; messages as kube-apiserver has them.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pkg/apiserver/admission/compiled.h"
#include "pkg/apiserver/admission/expressions.h"

namespace kcube::apiserver {

struct Webhook {
  std::string name, configuration, id;      // `id` names it among all: "configuration/name/0"
  MatchConstraints constraints;
  std::vector<Expression> conditions;
  json::value client_config;
  std::chrono::milliseconds timeout{10000};
  bool ignore_failures = false;             // failurePolicy
  bool side_effects = false;                // dry runs cannot be shown to it
  bool reinvoke = false;                    // reinvocationPolicy IfNeeded
  bool knows_v1 = true;                     // admissionReviewVersions
};
using Webhooks = std::vector<Webhook>;      // in the order of calling

// Null when there are none.
std::shared_ptr<const Webhooks> read_webhooks(const ResourceCache& configurations);

}  // namespace kcube::apiserver
