#include "pkg/apiserver/admission/policies.h"

#include <algorithm>
#include <utility>

#include "pkg/apiserver/machinery/admission_expressions.h"
#include "pkg/base/log.h"

namespace kcube::apiserver {
namespace {

std::string text_of(const json::value& v, std::string_view member) { return std::string(json::get_string(json::find(&v, member))); }

Result<PolicyBinding> read_binding(const api::Object& object) {
  PolicyBinding out;
  out.name = object.name();
  const json::value* spec = json::find(&object.value(), "spec");
  auto constraints = read_policy_constraints(json::find(spec, "matchResources"));
  if (!constraints) return fail(constraints.error());
  out.constraints = std::move(*constraints);
  if (const json::value* ref = json::find(spec, "paramRef")) out.param_ref = *ref;
  for (const json::value& action : json::get_array(json::find(spec, "validationActions"))) {
    std::string_view name = json::get_string(&action);
    out.deny |= name == "Deny";
    out.warn |= name == "Warn";
    out.audit |= name == "Audit";
  }
  return out;
}

// Each variable may name those before it.
void read_variables(const json::value* spec, AdmissionPolicy& out, cel::Environment& environment) {
  machinery::VariableTypes fields;
  for (const json::value& v : json::get_array(json::find(spec, "variables"))) {
    machinery::declare_variables(environment, fields);
    Expression one = compile_expression(text_of(v, "name"), text_of(v, "expression"), environment);
    fields.emplace_back(one.name, one.program ? one.program->type() : cel::Type::dyn());
    out.variables.push_back(std::move(one));
  }
  machinery::declare_variables(environment, fields);
}

void read_validations(const json::value* spec, AdmissionPolicy& out, const cel::Environment& environment) {
  for (const json::value& v : json::get_array(json::find(spec, "validations"))) {
    Validation one{compile_expression("", text_of(v, "expression"), environment), std::nullopt, text_of(v, "message"), text_of(v, "reason")};
    if (std::string message = text_of(v, "messageExpression"); !message.empty()) one.message_expression = compile_expression("", std::move(message), environment);
    out.validations.push_back(std::move(one));
  }
  for (const json::value& a : json::get_array(json::find(spec, "auditAnnotations")))
    out.audit_annotations.push_back(compile_expression(text_of(a, "key"), text_of(a, "valueExpression"), environment));
}

void read_mutations(const json::value* spec, AdmissionPolicy& out, cel::Environment environment) {
  environment.enable_mutations();
  for (const json::value& m : json::get_array(json::find(spec, "mutations"))) {
    bool patch = json::get_string(m, {"patchType"}) == "JSONPatch";
    std::string source(json::get_string(m, {patch ? "jsonPatch" : "applyConfiguration", "expression"}));
    out.mutations.push_back({compile_expression("", std::move(source), environment), patch});
  }
}

Result<AdmissionPolicy> read_policy(const api::Object& object) {
  AdmissionPolicy out;
  out.name = object.name();
  const json::value* spec = json::find(&object.value(), "spec");
  auto constraints = read_policy_constraints(json::find(spec, "matchConstraints"));
  if (!constraints) return fail(constraints.error());
  out.constraints = std::move(*constraints);
  out.constraints.any_resource = false;
  out.ignore_failures = json::get_string(json::find(spec, "failurePolicy")) == "Ignore";
  out.reinvoke = json::get_string(json::find(spec, "reinvocationPolicy")) == "IfNeeded";
  if (const json::value* kind = json::find(spec, "paramKind")) {
    out.param_api_version = text_of(*kind, "apiVersion");
    out.param_kind = text_of(*kind, "kind");
  }
  cel::Environment environment = machinery::admission_environment(!out.param_kind.empty());
  out.conditions = read_match_conditions(json::find(spec, "matchConditions"), environment);
  read_variables(spec, out, environment);
  read_validations(spec, out, environment);
  read_mutations(spec, out, environment);
  return out;
}

const Resource* resource_of(const Registry& registry, const std::string& api_version, const std::string& kind) {
  for (const auto& r : registry.all())
    if (r->subresource().empty() && r->cache != nullptr && r->info->kind == kind && r->info->api_version() == api_version) return r.get();
  return nullptr;
}

std::unexpected<Status> misconfigured(std::string why) { return fail(Status::internal("failed to configure binding: " + std::move(why))); }

}  // namespace

std::shared_ptr<const AdmissionPolicies> read_policies(const ResourceCache& policies, const ResourceCache& bindings) {
  auto out = std::make_shared<AdmissionPolicies>();
  if (policies.empty() || bindings.empty()) return nullptr;
  SnapshotPtr bound = bindings.snapshot();
  for (SnapshotPtr all = policies.snapshot(); const ObjectPtr& object : all->objects) {
    std::vector<PolicyBinding> own;
    for (const ObjectPtr& b : bound->objects) {
      if (json::get_string(b->value(), {"spec", "policyName"}) != object->name()) continue;
      auto binding = read_binding(*b);
      if (binding) own.push_back(std::move(*binding));
      else log::warn("admission", "policy binding " + std::string(b->name()) + " is left out: " + binding.error().message());
    }
    if (own.empty()) continue;
    auto policy = read_policy(*object);
    if (!policy) {
      log::warn("admission", "policy " + std::string(object->name()) + " is left out: " + policy.error().message());
      continue;
    }
    policy->bindings = std::move(own);
    out->push_back(std::move(*policy));
  }
  if (out->empty()) return nullptr;
  return out;
}

Result<std::vector<ObjectPtr>> find_params(const AdmissionPolicy& policy, const PolicyBinding& binding, const Admission& a) {
  if (policy.param_kind.empty() || binding.param_ref.is_null()) return std::vector<ObjectPtr>{nullptr};
  const Resource* r = resource_of(a.core.registry, policy.param_api_version, policy.param_kind);
  if (r == nullptr) return fail(Status::internal("failed to configure policy: failed to find resource referenced by paramKind: '" + policy.param_api_version + ", Kind=" + policy.param_kind + "'"));
  const json::value& ref = binding.param_ref;
  std::string ns = text_of(ref, "namespace"), name = text_of(ref, "name");
  if (!r->namespaced() && !ns.empty()) return misconfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
  if (r->namespaced() && ns.empty()) ns = a.call.ns;
  if (r->namespaced() && ns.empty()) return misconfigured("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
  std::vector<ObjectPtr> out;
  if (!name.empty()) {
    if (ObjectPtr one = r->cache->get(ns, name)) out.push_back(std::move(one));
  } else if (const json::value* selector = json::find(&ref, "selector")) {
    auto wanted = api::LabelSelector::from_json(selector);
    if (!wanted) return misconfigured(wanted.error().message());
    for (SnapshotPtr all = r->cache->snapshot(); const ObjectPtr& o : all->objects)
      if (o->namespace_() == ns && wanted->matches(o->labels())) out.push_back(o);
  }
  if (out.empty() && text_of(ref, "parameterNotFoundAction") != "Allow")
    return misconfigured("no params found for policy binding with `Deny` parameterNotFoundAction");
  return out;
}

bool exempt_from_policies(const Admission& a) {
  std::string_view group = a.call.resource->group();
  if (group == "authentication.k8s.io" || group == "authorization.k8s.io") return true;
  return group == "admissionregistration.k8s.io";
}

}  // namespace kcube::apiserver
