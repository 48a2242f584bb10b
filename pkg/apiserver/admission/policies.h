// Admission policies and their bindings, compiled: the common half of ValidatingAdmissionPolicy and MutatingAdmissionPolicy.
// Source: the API reference of admissionregistration.k8s.io/v1; the Kubernetes docs on validating admission policies.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pkg/apiserver/admission/expressions.h"

namespace kcube::apiserver {

struct PolicyBinding {
  std::string name;
  MatchConstraints constraints;
  json::value param_ref;                     // null: none
  bool deny = false, warn = false, audit = false;   // validationActions
};

struct Validation {
  Expression expression;
  std::optional<Expression> message_expression;
  std::string message, reason;
};

struct Mutation {
  Expression expression;
  bool json_patch = false;                   // else an apply configuration
};

struct AdmissionPolicy {
  std::string name;
  MatchConstraints constraints;
  std::vector<Expression> conditions, variables;
  std::vector<Validation> validations;
  std::vector<Expression> audit_annotations; // name: the key
  std::vector<Mutation> mutations;
  std::string param_api_version, param_kind; // empty: no parameters
  bool ignore_failures = false;
  bool reinvoke = false;
  std::vector<PolicyBinding> bindings;
};
using AdmissionPolicies = std::vector<AdmissionPolicy>;   // those that are bound, by name

// Null when none is bound.
std::shared_ptr<const AdmissionPolicies> read_policies(const ResourceCache& policies, const ResourceCache& bindings);

// The parameters that the binding names, perhaps several; {null} when the policy takes none. Fails with what is wrong with
// the configuration.
Result<std::vector<ObjectPtr>> find_params(const AdmissionPolicy& policy, const PolicyBinding& binding, const Admission& admission);

// Resources that no policy is asked about: those that configure admission, and questions about access.
bool exempt_from_policies(const Admission& admission);

}  // namespace kcube::apiserver
