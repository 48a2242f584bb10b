#include "pkg/cel/program.h"

#include <algorithm>

#include "pkg/cel/checker.h"
#include "pkg/cel/cost.h"
#include "pkg/cel/evaluator.h"
#include "pkg/cel/parser.h"
#include "pkg/cel/planner.h"

namespace kcube::cel {
namespace {

constexpr std::string_view kCostLimit = "CostLimitExceeded";
constexpr std::string_view kBudgetSpent = "CostBudgetExceeded";

class Compiled final : public Program {
 public:
  Compiled(std::string_view source, const Environment& environment) : source_(source), environment_(environment) {}

  bool prepare(Issues& issues) {
    root_ = parse(source_, issues, environment_.bindings());
    if (!root_) return false;
    check(*root_, environment_, issues);
    if (!issues.empty()) return false;
    estimate_ = estimate_cost(*root_, environment_);
    plan_ = plan(*root_, issues);
    return issues.empty();
  }

  Result<Value> evaluate(const Activation& activation, const Limits& limits, Usage* usage) const override {
    Evaluator evaluator(plan_.variables, plan_.slots, activation, limits);
    Value value = evaluator.run(*root_);
    uint64_t cost = evaluator.cost();
    if (usage) usage->cost = cost;
    if (limits.budget) {
      bool spent = cost > *limits.budget;
      *limits.budget -= std::min(cost, *limits.budget);
      if (spent && !evaluator.over_limit()) {
        return fail(Status(400, std::string(kBudgetSpent), "validation failed due to running out of cost budget, no further validation rules will be run"));
      }
    }
    if (evaluator.over_limit()) return fail(Status(400, std::string(kCostLimit), "operation cancelled: actual cost limit exceeded"));
    if (evaluator.cancelled()) return fail(Status(504, "Timeout", "operation interrupted"));
    if (value.is_error()) return fail(Status::bad_request(std::string(value.as_text())));
    return value;
  }

  const TypeRef& type() const override { return root_->type; }
  const std::string& source() const override { return source_; }
  CostEstimate estimate() const override { return estimate_; }
  bool uses(std::string_view variable) const override { return std::ranges::find(plan_.variables, variable) != plan_.variables.end(); }

 private:
  const std::string source_;
  const Environment environment_;            // keeps the declared types alive
  NodePtr root_;
  Plan plan_;
  CostEstimate estimate_;
};

}  // namespace

Activation& Activation::set(std::string_view name, Value value) {
  for (auto& [known, old] : values_) {
    if (known == name) return old = std::move(value), *this;
  }
  values_.emplace_back(name, std::move(value));
  return *this;
}

const Value* Activation::find(std::string_view name) const {
  for (const auto& [known, value] : values_) {
    if (known == name) return &value;
  }
  return nullptr;
}

Result<std::shared_ptr<const Program>> compile(std::string_view source, const Environment& environment) {
  auto program = std::make_shared<Compiled>(source, environment);
  Issues issues(program->source());
  if (!program->prepare(issues)) return fail(Status::bad_request(issues.to_string()));
  return program;
}

bool returns(const Program& program, const Type& type) {
  return program.type()->kind() == TypeKind::dyn || same_type(*program.type(), type);
}

bool is_cost_limit(const Status& status) { return status.reason() == kCostLimit; }
bool is_budget(const Status& status) { return status.reason() == kBudgetSpent; }

}  // namespace kcube::cel
