#include "pkg/apiserver/admission/expressions.h"

#include <map>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission_review.h"
#include "pkg/apiserver/authorizer.h"

namespace kcube::apiserver {
namespace {

cel::AccessQuestion question_of(const Admission& a) {
  cel::AccessQuestion q;
  q.resource_request = true;
  q.group = a.call.resource->group();
  q.version = a.call.resource->info->version;
  q.resource = a.call.resource->resource();
  q.subresource = a.call.resource->subresource();
  q.namespace_ = a.call.ns;
  q.name = a.call.name;
  return q;
}

}  // namespace

Expression compile_expression(std::string name, std::string source, const cel::Environment& environment) {
  Expression out{std::move(name), std::move(source), nullptr, {}};
  auto program = cel::compile(out.source, environment);
  if (program) out.program = std::move(*program);
  else out.problem = program.error().message();
  return out;
}

// Evaluated when asked for, and then kept: later expressions see the same value.
class Scope::Variables final : public cel::Members {
 public:
  Variables(Scope& scope, const std::vector<Expression>& all) : scope_(scope) {
    for (const Expression& e : all) by_name_[e.name] = &e;
  }
  std::optional<cel::Value> find(std::string_view name) const override {
    if (auto known = values_.find(name); known != values_.end()) return known->second;
    auto it = by_name_.find(name);
    if (it == by_name_.end()) return std::nullopt;
    auto value = scope_.evaluate(*it->second, *scope_.budget_);
    cel::Value kept = value ? *value : cel::Value::failure("composited variable \"" + std::string(name) + "\" fails to evaluate: " + value.error().message());
    values_.emplace(name, kept);
    return kept;
  }

 private:
  Scope& scope_;
  std::map<std::string, const Expression*, std::less<>> by_name_;
  mutable std::map<std::string, cel::Value, std::less<>> values_;
};

Result<std::unique_ptr<Scope>> Scope::create(const Admission& a, const Resource& as) {
  std::unique_ptr<Scope> scope(new Scope(a));
  for (auto [from, to] : {std::pair<const json::value*, json::value*>{a.object, &scope->object_}, {a.old, &scope->old_}}) {
    if (from == nullptr) continue;
    auto shown = served_as(a, *from, as);
    if (!shown) return fail(shown.error());
    *to = std::move(*shown);
  }
  scope->request_ = make_request(a, as);
  if (!a.call.ns.empty()) scope->namespace_ = a.core.get("", "namespaces", "", a.call.ns);
  cel::Activation& names = scope->activation_;
  names.set("object", cel::Value::json(scope->object_)).set("oldObject", cel::Value::json(scope->old_)).set("request", cel::Value::json(scope->request_));
  names.set("namespaceObject", scope->namespace_ ? cel::Value::json(scope->namespace_->value()) : cel::Value::null());
  names.set("authorizer", cel::authorizer_value(*scope)).set("authorizer.requestResource", cel::resource_check_value(*scope, question_of(a)));
  names.set("params", cel::Value::null());
  return scope;
}

void Scope::set_params(const json::value* params) { activation_.set("params", params != nullptr ? cel::Value::json(*params) : cel::Value::null()); }

void Scope::set_variables(const std::vector<Expression>& variables) { activation_.set("variables", cel::Value::members(new Variables(*this, variables))); }

Result<cel::Value> Scope::evaluate(const Expression& expression, uint64_t& budget) {
  if (expression.program == nullptr) return fail(Status::internal("compilation error: compilation failed: " + expression.problem));
  budget_ = &budget;
  auto value = expression.program->evaluate(activation_, {.budget = &budget});
  if (value) return value;
  if (cel::is_budget(value.error())) return fail(Status::internal("validation failed due to running out of cost budget, no further validation rules will be run"));
  return fail(Status::internal("expression '" + expression.source + "' resulted in error: " + value.error().message()));
}

cel::AccessAnswer Scope::check(const cel::AccessQuestion& q) const {
  auth::Attributes attributes;
  attributes.user = admission_.call.user;
  if (!q.service_account_name.empty()) {
    attributes.user = {"system:serviceaccount:" + q.service_account_namespace + ":" + q.service_account_name, "", {"system:serviceaccounts", "system:serviceaccounts:" + q.service_account_namespace, "system:authenticated"}, {}};
  }
  attributes.resource_request = q.resource_request;
  attributes.path = q.path;
  attributes.verb = q.verb;
  attributes.api_group = q.group;
  attributes.api_version = q.version;
  attributes.resource = q.resource;
  attributes.subresource = q.subresource;
  attributes.namespace_ = q.namespace_;
  attributes.name = q.name;
  auto decision = admission_.core.authorizer.decide(attributes);
  return {decision.allowed, decision.reason, std::nullopt};
}

std::vector<Expression> read_match_conditions(const json::value* conditions, const cel::Environment& environment) {
  std::vector<Expression> out;
  for (const json::value& c : json::get_array(conditions))
    out.push_back(compile_expression(std::string(json::get_string(c, {"name"})), std::string(json::get_string(c, {"expression"})), environment));
  return out;
}

Result<bool> conditions_hold(const std::vector<Expression>& conditions, Scope& scope, const Admission& a, bool ignore_failures) {
  uint64_t budget = cel::kMatchConditionBudget;
  std::vector<std::string> problems;
  for (const Expression& condition : conditions) {
    auto value = scope.evaluate(condition, budget);
    if (!value) problems.push_back(value.error().message());
    else if (!value->is_true()) return false;   // whatever the others would say
  }
  if (problems.empty()) return true;
  if (ignore_failures) return false;
  std::string text;
  for (const std::string& p : problems) text += (text.empty() ? "" : ", ") + p;
  return a.forbid(problems.size() == 1 ? text : "[" + text + "]");
}

}  // namespace kcube::apiserver
