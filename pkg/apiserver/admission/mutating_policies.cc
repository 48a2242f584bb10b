// MutatingAdmissionPolicy: expressions of policies make apply configurations or JSON patches, which change the object
// before it is validated. Source: the API reference of admissionregistration.k8s.io/v1; KEP-3962.
#include <optional>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"
#include "pkg/apiserver/admission/policies.h"
#include "pkg/apiserver/machinery/apply.h"
#include "pkg/apiserver/machinery/patch.h"
#include "pkg/cel/mutation.h"

namespace kcube::apiserver {
namespace {

// `object` with the configuration merged into it as server-side apply merges; whose fields they are does not change.
Result<json::value> merged(const json::value& object, const Resource& as, json::value configuration) {
  if (!configuration.is_object()) return fail(Status::internal("applyConfiguration must evaluate to an Object"));
  if (as.info->type == nullptr) return machinery::merge_patch(object, configuration);
  json::object& top = configuration.get_object();
  for (const char* name : {"apiVersion", "kind"})
    if (const json::value* own = json::find(&object, name)) top[name] = *own;
  // A manager of its own, which is forgotten again, so that nothing that others applied goes away.
  machinery::ApplyOptions options{"mutating-admission-policy", true, std::string(as.subresource()), std::string(json::get_string(top.if_contains("apiVersion"))), {}};
  auto applied = machinery::apply(&object, configuration, *as.info->type, options);
  if (!applied) return applied;
  json::object& metadata = json::ensure_object(applied->get_object(), "metadata");
  if (const json::value* managed = json::at(&object, {"metadata", "managedFields"})) metadata["managedFields"] = *managed;
  else metadata.erase("managedFields");
  return applied;
}

Result<json::value> mutated(const Mutation& m, Scope& scope, const Resource& as, uint64_t& budget) {
  auto value = scope.evaluate(m.expression, budget);
  if (!value) return fail(value.error());
  if (!m.json_patch)
    if (auto fits = cel::check_object_types(*value); !fits) return fail(fits.error());
  auto document = cel::to_json(*value);
  if (!document) return fail(document.error());
  return m.json_patch ? machinery::json_patch(scope.object(), *document) : merged(scope.object(), as, std::move(*document));
}

// The first is the answer, all are its causes.
void refuse(const Admission& a, const AdmissionPolicy& policy, const PolicyBinding& binding, const std::string& why, std::optional<Status>& refusal) {
  if (policy.ignore_failures) return;
  std::string message = "policy '" + policy.name + "' with binding '" + binding.name + "' denied request: " + why;
  if (!refusal) {
    refusal.emplace(403, "Invalid", message);
    refusal->details() = a.forbid(message).error().details();
  }
  refusal->details().causes.push_back({"", message, ""});
}

// All mutations of the policy with one set of parameters; each sees what those before it made.
Result<void> run(const AdmissionPolicy& policy, const PolicyBinding& binding, const ObjectPtr& params, const Resource& as, Admission& a, std::optional<Status>& refusal) {
  uint64_t budget = cel::kBudget;
  for (const Mutation& m : policy.mutations) {
    auto created = Scope::create(a, as);
    if (!created) return fail(created.error());
    Scope& scope = **created;
    scope.set_params(params ? &params->value() : nullptr);
    scope.set_variables(policy.variables);
    if (&m == policy.mutations.data()) {
      auto holds = conditions_hold(policy.conditions, scope, a, policy.ignore_failures);
      if (!holds) return fail(holds.error());
      if (!*holds) return {};
    }
    const auto began = std::chrono::steady_clock::now();
    auto changed = mutated(m, scope, as, budget);
    a.core.admission.metrics().mutated(policy.name, binding.name, !changed, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    if (!changed) {
      refuse(a, policy, binding, changed.error().message(), refusal);
      continue;
    }
    if (*changed == scope.object()) continue;
    auto stored = from_served(a, as, std::move(*changed));
    if (!stored) {
      refuse(a, policy, binding, stored.error().message(), refusal);
      continue;
    }
    *a.object = std::move(*stored);
    Reinvocation& rounds = *a.rounds;
    rounds.due.insert(rounds.invoked.begin(), rounds.invoked.end());
    rounds.invoked.clear();
    rounds.again = true;
  }
  return {};
}

Result<void> mutate_by_policies(Admission& a) {
  auto policies = a.core.admission.mutating_policies();
  if (!policies || a.object == nullptr || exempt_from_policies(a)) return {};
  std::optional<Status> refusal;
  for (const AdmissionPolicy& policy : *policies) {
    auto as = match(policy.constraints, a);
    if (!as) return fail(as.error());
    if (*as == nullptr) continue;
    for (const PolicyBinding& binding : policy.bindings) {
      std::string id = "policy/" + policy.name + "/" + binding.name;
      if (a.rounds->round > 0 && !a.rounds->due.contains(id)) continue;
      auto bound = match(binding.constraints, a);
      if (!bound) return fail(bound.error());
      if (*bound == nullptr) continue;
      auto params = find_params(policy, binding, a);
      if (!params) {
        refuse(a, policy, binding, params.error().message(), refusal);
        continue;
      }
      for (const ObjectPtr& p : *params)
        if (auto done = run(policy, binding, p, **as, a, refusal); !done) return done;
      if (policy.reinvoke) a.rounds->invoked.insert(id);
    }
  }
  if (refusal) return fail(std::move(*refusal));
  return {};
}

}  // namespace

const AdmissionPlugin kMutatingAdmissionPolicy{"MutatingAdmissionPolicy", mutate_by_policies, nullptr};

}  // namespace kcube::apiserver
