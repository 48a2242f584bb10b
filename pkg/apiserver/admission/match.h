// Which requests a webhook or an admission policy is for: rules, scope, selectors, and equivalent versions.
// Compiled once from a configuration; immutable, so any thread may read it. Source: the API reference of
// admissionregistration.k8s.io/v1 (RuleWithOperations, MatchResources).
#pragma once

#include <string>
#include <vector>

#include "pkg/api/selector.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {

struct MatchRule {
  std::vector<std::string> operations, groups, versions, resources;
  std::string scope;                        // "", "*", "Cluster", "Namespaced"
  std::vector<std::string> names;           // of policies; empty: any
};

struct MatchConstraints {
  std::vector<MatchRule> rules, excluded;
  bool any_resource = false;                // of bindings that give no rules
  bool equivalent = true;                   // matchPolicy
  api::LabelSelector namespaces, objects;   // nothing given: everything
};

std::vector<MatchRule> read_match_rules(const json::value* rules);
// rules, matchPolicy, namespaceSelector and objectSelector of a webhook.
Result<MatchConstraints> read_webhook_constraints(const json::value& webhook);
// matchConstraints or matchResources of a policy or its binding: resourceRules, excludeResourceRules and the same.
Result<MatchConstraints> read_policy_constraints(const json::value* resources);

// The resource, in the version that the rules name, as which the request is to be shown; null when they do not match.
// Fails when the request's namespace is not there.
Result<const Resource*> match(const MatchConstraints& constraints, const Admission& admission);

// "CREATE", "UPDATE", "DELETE", "CONNECT".
std::string_view operation_name(Operation operation);

// `object`, as the engine has it, in the version and form of `to`: what clients of `to` see. Fails when a conversion webhook does.
Result<json::value> served_as(const Admission& admission, const json::value& object, const Resource& to);
// The reverse, after someone changed it: types checked, unknown fields gone, defaults filled in.
Result<json::value> from_served(const Admission& admission, const Resource& from, json::value changed);

// {"username", "uid", "groups", "extra"}.
json::object user_info(const auth::User& user);
// The options of the request as their kind: CreateOptions, UpdateOptions, DeleteOptions.
json::value options_of(const Admission& admission);

}  // namespace kcube::apiserver
