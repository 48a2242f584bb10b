// CEL in admission: what expressions of webhooks and policies may name, compiled programs, and match conditions.
//
// Programs are immutable; a Scope belongs to one request and one thread. Source: the Kubernetes docs on CEL and on
// validating admission policies; messages as kube-apiserver has them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pkg/apiserver/admission/match.h"
#include "pkg/cel/authorizer.h"
#include "pkg/cel/program.h"

namespace kcube::apiserver {

// An expression with its program, or with why there is none.
struct Expression {
  std::string name, source;
  std::shared_ptr<const cel::Program> program;
  std::string problem;
};
Expression compile_expression(std::string name, std::string source, const cel::Environment& environment);

// The variables of one request, seen as a client of `as` would see it.
class Scope final : public cel::AccessSource {
 public:
  // Fails when a conversion webhook does.
  static Result<std::unique_ptr<Scope>> create(const Admission& admission, const Resource& as);
  // Null for none.
  void set_params(const json::value* params);
  // Also "variables", whose members evaluate when an expression first asks.
  void set_variables(const std::vector<Expression>& variables);
  // "expression 'X' resulted in error: …" when it fails.
  Result<cel::Value> evaluate(const Expression& expression, uint64_t& budget);
  const json::value& object() const { return object_; }

  cel::AccessAnswer check(const cel::AccessQuestion& question) const override;

 private:
  class Variables;
  explicit Scope(const Admission& admission) : admission_(admission) {}
  const Admission& admission_;
  json::value object_, old_, request_;
  ObjectPtr namespace_;
  cel::Activation activation_;
  uint64_t* budget_ = nullptr;
};

std::vector<Expression> read_match_conditions(const json::value* conditions, const cel::Environment& environment);
// Whether every condition holds. A failure among those that do not is 403, unless `ignore_failures`: then it is no match.
Result<bool> conditions_hold(const std::vector<Expression>& conditions, Scope& scope, const Admission& admission, bool ignore_failures);

}  // namespace kcube::apiserver
