// The expressions of admission webhooks and policies: what they may name, and whether they compile.
// Source: the Kubernetes docs on validating admission policies and match conditions; messages of kube-apiserver.
#pragma once

#include "pkg/api/json.h"
#include "pkg/apiserver/machinery/validation_cursor.h"
#include "pkg/cel/environment.h"

namespace kcube::machinery {

// object, oldObject, request, namespaceObject and authorizer; params when `with_params`.
cel::Environment admission_environment(bool with_params);
// With `variables`, which has a member for each of the types.
using VariableTypes = std::vector<std::pair<std::string, cel::TypeRef>>;
void declare_variables(cel::Environment& environment, const VariableTypes& types);

// Causes for what does not compile or is of the wrong type.
void validate_condition_expressions(const Cursor& conditions, bool with_params);
// matchConditions, variables, validations, auditAnnotations and mutations.
void validate_policy_expressions(const Cursor& spec);

}  // namespace kcube::machinery
