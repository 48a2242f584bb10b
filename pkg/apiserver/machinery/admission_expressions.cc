#include "pkg/apiserver/machinery/admission_expressions.h"

#include <memory>

#include "pkg/base/strings.h"
#include "pkg/cel/authorizer.h"
#include "pkg/cel/program.h"

namespace kcube::machinery {
namespace {

// Null, with a cause, when it does not compile or cannot be of one of the types.
std::shared_ptr<const cel::Program> check(const Cursor& expression, const cel::Environment& environment, std::initializer_list<const cel::TypeRef*> types = {}) {
  if (trim(expression.text()).empty()) return nullptr;
  auto program = cel::compile(expression.text(), environment);
  if (!program) {
    expression.invalid("compilation failed: " + program.error().message());
    return nullptr;
  }
  if (types.size() == 0) return *program;
  std::string names;
  for (const cel::TypeRef* type : types) {
    if (cel::returns(**program, **type)) return *program;
    names += (names.empty() ? "" : " ") + (*type)->to_string();
  }
  expression.invalid(types.size() == 1 ? "must evaluate to " + names : "must evaluate to one of [" + names + "]");
  return nullptr;
}

}  // namespace

cel::Environment admission_environment(bool with_params) {
  cel::Environment environment;
  const cel::TypeRef& dyn = cel::Type::dyn();
  environment.declare("object", dyn).declare("oldObject", dyn).declare("request", dyn).declare("namespaceObject", dyn);
  environment.declare("authorizer", cel::authorizer_type()).declare("authorizer.requestResource", cel::resource_check_type());
  if (with_params) environment.declare("params", dyn);
  return environment;
}

void declare_variables(cel::Environment& environment, const VariableTypes& types) {
  environment.declare("variables", cel::Type::object("kubernetes.variables", cel::make_fields(types)));
}

void validate_condition_expressions(const Cursor& conditions, bool with_params) {
  cel::Environment environment = admission_environment(with_params);
  for (const Cursor& condition : conditions.items()) check(condition["expression"], environment, {&cel::Type::boolean()});
}

void validate_policy_expressions(const Cursor& spec) {
  cel::Environment environment = admission_environment(spec["paramKind"].present());
  validate_condition_expressions(spec["matchConditions"], spec["paramKind"].present());
  VariableTypes types;
  for (const Cursor& variable : spec["variables"].items()) {
    declare_variables(environment, types);
    auto program = check(variable["expression"], environment);
    types.emplace_back(variable["name"].text(), program ? program->type() : cel::Type::dyn());
  }
  declare_variables(environment, types);
  for (const Cursor& one : spec["validations"].items()) {
    check(one["expression"], environment, {&cel::Type::boolean()});
    check(one["messageExpression"], environment, {&cel::Type::string()});
  }
  for (const Cursor& one : spec["auditAnnotations"].items()) check(one["valueExpression"], environment, {&cel::Type::string(), &cel::Type::null()});
  environment.enable_mutations();
  for (const Cursor& one : spec["mutations"].items()) {
    check(one["applyConfiguration"]["expression"], environment);
    check(one["jsonPatch"]["expression"], environment);
  }
}

}  // namespace kcube::machinery
