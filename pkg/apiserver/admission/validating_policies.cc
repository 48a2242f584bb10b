// ValidatingAdmissionPolicy: expressions of policies over each write that their bindings are for.
#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"
#include "pkg/apiserver/admission/policies.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kMaxMessage = 5 * 1024;
constexpr size_t kMaxAnnotation = 10 * 1024;

struct Refusal {
  const AdmissionPolicy* policy;
  const PolicyBinding* binding;              // null: the policy itself is at fault
  std::string message, reason;
};

std::string message_of(const Validation& v, Scope& scope, uint64_t& budget) {
  if (v.message_expression) {
    auto text = scope.evaluate(*v.message_expression, budget);
    if (text && text->is(cel::Kind::string)) {
      std::string_view words = trim(text->as_text());
      if (!words.empty() && words.size() <= kMaxMessage && words.find('\n') == std::string_view::npos) return std::string(words);
    }
  }
  if (!v.message.empty()) return std::string(trim(v.message));
  return "failed expression: " + std::string(trim(v.expression.source));
}

// Counts what one expression came to, by what the binding makes of it.
void note(const AdmissionPolicy& policy, const PolicyBinding& binding, const Admission& a, bool held, bool error, std::chrono::steady_clock::time_point began) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  AdmissionMetrics& metrics = a.core.admission.metrics();
  auto judged = [&](std::string_view action) { metrics.judged(policy.name, binding.name, error, action, seconds); };
  if (held) return judged("allow");
  if (binding.deny) judged("deny");
  if (binding.audit) judged("audit");
  if (binding.warn) judged("warn");
}

// What the policy's expressions have against the request, with one set of parameters.
void judge(const AdmissionPolicy& policy, const PolicyBinding& binding, Scope& scope, Admission& a, std::vector<Refusal>& out) {
  uint64_t budget = cel::kBudget;
  for (const Validation& v : policy.validations) {
    const auto began = std::chrono::steady_clock::now();
    auto value = scope.evaluate(v.expression, budget);
    note(policy, binding, a, value ? value->is_true() : policy.ignore_failures, !value, began);
    if (!value) {
      if (!policy.ignore_failures) out.push_back({&policy, &binding, value.error().message(), ""});
    } else if (!value->is_true()) {
      out.push_back({&policy, &binding, message_of(v, scope, budget), v.reason});
    }
  }
  for (const Expression& e : policy.audit_annotations) {
    auto value = scope.evaluate(e, budget);
    if (!value && !policy.ignore_failures) out.push_back({&policy, &binding, value.error().message(), ""});
    if (!value || !value->is(cel::Kind::string)) continue;
    std::string_view text = trim(value->as_text());
    if (text.empty()) continue;
    std::string& all = a.call.audit_annotations[policy.name + "/" + e.name];
    if (all.find(text) == std::string::npos) all += (all.empty() ? "" : ", ") + std::string(text.substr(0, kMaxAnnotation));
  }
}

int code_of(std::string_view reason) {
  if (reason == "Forbidden") return 403;
  if (reason == "Unauthorized") return 401;
  if (reason == "RequestEntityTooLarge") return 413;
  return 422;
}

std::unexpected<Status> denial_of(const Admission& a, const Refusal& r) {
  std::string by = "ValidatingAdmissionPolicy '" + r.policy->name + "'" + (r.binding != nullptr ? " with binding '" + r.binding->name + "'" : "");
  std::string message = by + " denied request: " + r.message;
  std::string reason = r.reason.empty() ? "Invalid" : r.reason;
  Status words = a.forbid(message).error();
  Status out(code_of(reason), reason, words.message());
  out.details() = words.details();
  out.details().causes.push_back({"", message, ""});
  return fail(std::move(out));
}

void note_for_audit(Admission& a, const Refusal& r, const std::string& message, size_t index) {
  json::array actions;
  if (r.binding->deny) actions.emplace_back("Deny");
  if (r.binding->warn) actions.emplace_back("Warn");
  actions.emplace_back("Audit");
  json::object one{{"message", message}, {"policy", r.policy->name}, {"binding", r.binding->name}, {"expressionIndex", index}, {"validationActions", std::move(actions)}};
  std::string& all = a.call.audit_annotations["validation.policy.admission.k8s.io/validation_failure"];
  auto list = json::parse(all.empty() ? "[]" : all);
  list->get_array().push_back(std::move(one));
  all = json::serialize(*list);
}

// As many judgements as the binding has parameters.
Result<void> judge_binding(const AdmissionPolicy& policy, const PolicyBinding& binding, Scope& scope, Admission& a, std::vector<Refusal>& out) {
  auto params = find_params(policy, binding, a);
  if (!params) {
    if (!policy.ignore_failures) out.push_back({&policy, &binding, params.error().message(), ""});
    return {};
  }
  for (const ObjectPtr& p : *params) {
    scope.set_params(p ? &p->value() : nullptr);
    scope.set_variables(policy.variables);
    auto holds = conditions_hold(policy.conditions, scope, a, policy.ignore_failures);
    if (!holds) out.push_back({&policy, &binding, holds.error().message(), ""});
    else if (*holds) judge(policy, binding, scope, a, out);
  }
  return {};
}

Result<void> validate(Admission& a) {
  auto policies = a.core.admission.validating_policies();
  if (!policies || exempt_from_policies(a)) return {};
  std::vector<Refusal> found;
  for (const AdmissionPolicy& policy : *policies) {
    auto as = match(policy.constraints, a);
    if (!as) return fail(as.error());
    if (*as == nullptr) continue;
    std::unique_ptr<Scope> scope;
    for (const PolicyBinding& binding : policy.bindings) {
      auto bound = match(binding.constraints, a);
      if (!bound) return fail(bound.error());
      if (*bound == nullptr) continue;
      if (!scope) {
        auto created = Scope::create(a, **as);
        if (!created) return fail(created.error());
        scope = std::move(*created);
      }
      if (auto done = judge_binding(policy, binding, *scope, a, found); !done) return done;
    }
  }
  const Refusal* denied = nullptr;
  for (size_t i = 0; i < found.size(); ++i) {
    const Refusal& r = found[i];
    std::string message = "Validation failed for ValidatingAdmissionPolicy '" + r.policy->name + "' with binding '" + r.binding->name + "': " + r.message;
    if (r.binding->deny && denied == nullptr) denied = &r;
    if (r.binding->warn) a.call.warn(message);
    if (r.binding->audit) note_for_audit(a, r, r.message, i);
  }
  return denied == nullptr ? Result<void>() : denial_of(a, *denied);
}

}  // namespace

const AdmissionPlugin kValidatingAdmissionPolicy{"ValidatingAdmissionPolicy", nullptr, validate};

}  // namespace kcube::apiserver
