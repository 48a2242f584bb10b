// Programs: CEL expressions compiled once, then evaluated by many threads. This is the room's front door.
//
//   cel::Environment environment;
//   environment.declare("object", pod_type).declare("oldObject", pod_type).declare("request", cel::Type::dyn());
//   auto program = cel::compile("object.spec.replicas <= 5", environment);
//   if (!program) … program.error().message() is "ERROR: <input>:1:1: …" with the source line and a caret; the callers
//                   put "compilation failed: " before it, as the real server does
//   if (!cel::returns(**program, *cel::Type::boolean())) … "must evaluate to bool"
//
//   cel::Activation activation;
//   activation.set("object", cel::Value::json(object));                 // borrowed: `object` lives longer
//   activation.set("oldObject", old ? cel::Value::json(*old) : cel::Value::null());
//   activation.set("authorizer", cel::authorizer_value(source));        // authorizer.h
//   uint64_t budget = cel::kBudget;                                     // over all expressions of one request
//   auto result = (*program)->evaluate(activation, {.budget = &budget});
//   if (!result) … result.error().message() is "no such key: x", "division by zero", …; is_cost_limit() tells when the
//                  expression was stopped for its cost, is_budget() when the shared budget ran out
//
// `variables.x` of policies: declare "variables" as an object type with a field for each, and give a Members whose find()
// evaluates the variable's program when first asked. CRD rules: declare "self" and "oldSelf" with types made from the
// structural schema and wrap the documents with Value::json(document, type).
//
// What runs against a policy's `object` is untyped in Kubernetes: declare it dyn; declare types only to warn about mistakes.
//
// Facts are those of Kubernetes 1.36 (cel-go): texts of errors, costs of operations, limits.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/status.h"
#include "pkg/cel/environment.h"
#include "pkg/cel/value.h"

namespace kcube::cel {

inline constexpr uint64_t kPerCallLimit = 1'000'000;        // of one evaluation
inline constexpr uint64_t kBudget = 10'000'000;             // of all evaluations for one object and policy
inline constexpr uint64_t kMatchConditionBudget = 2'500'000;  // of all match conditions of one webhook or policy
inline constexpr uint64_t kEstimateLimit = 10'000'000;      // static, of one rule of a CRD
inline constexpr uint64_t kEstimateBudget = 100'000'000;    // static, of all rules of a CRD

struct Limits {
  uint64_t cost = kPerCallLimit;
  uint64_t* budget = nullptr;                               // reduced by what the evaluation cost
  const std::atomic<bool>* cancelled = nullptr;             // looked at once in each iteration
};

// What one evaluation cost, for callers that want to know.
struct Usage {
  uint64_t cost = 0;
};

// The worst case over all documents that the declared types allow.
struct CostEstimate {
  uint64_t min = 0, max = 0;
};

// The variables of one evaluation. Not thread-safe; small and made per request.
class Activation {
 public:
  virtual ~Activation() = default;
  Activation& set(std::string_view name, Value value);      // `name` is borrowed: a literal
  const Value* find(std::string_view name) const;
  // Asked when `find` knows no such variable; an expression that names it then fails with "no such attribute".
  virtual const Value* resolve(std::string_view) const { return nullptr; }

 private:
  std::vector<std::pair<std::string_view, Value>> values_;
};

class Program {
 public:
  virtual ~Program() = default;
  // The value, or a Status whose message is the expression's error. The value may refer to this program and to what the
  // activation refers to.
  virtual Result<Value> evaluate(const Activation& activation, const Limits& limits = {}, Usage* usage = nullptr) const = 0;
  virtual const TypeRef& type() const = 0;
  virtual const std::string& source() const = 0;
  virtual CostEstimate estimate() const = 0;
  // Whether the expression names the variable at all (so that callers load params or namespaces only when needed).
  virtual bool uses(std::string_view variable) const = 0;
};

// Parses, checks and plans. The error is 400 with all issues in its message, in cel-go's words.
Result<std::shared_ptr<const Program>> compile(std::string_view source, const Environment& environment);

// Whether the program's type is `type` or dyn, which may turn out to be it.
bool returns(const Program& program, const Type& type);

bool is_cost_limit(const Status& status);
bool is_budget(const Status& status);

}  // namespace kcube::cel
