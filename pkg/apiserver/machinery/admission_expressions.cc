#include "pkg/apiserver/machinery/admission_expressions.h"

#include <memory>
#include <string>

#include "pkg/base/strings.h"
#include "pkg/cel/admission_types.h"
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
  expression.invalid("must evaluate to " + (types.size() == 1 ? names : "one of [" + names + "]") + " but got " + (*program)->type()->to_string());
  return nullptr;
}

// A list of dyn, such as `[]`, is none.
bool is_json_patch(const cel::Type& type) {
  if (type.kind() == cel::TypeKind::dyn) return true;
  return type.kind() == cel::TypeKind::list && !type.parameters().empty() && type.parameters()[0]->kind() == cel::TypeKind::object;
}

}  // namespace

cel::Environment admission_environment(bool with_params) {
  cel::Environment environment;
  const cel::TypeRef& dyn = cel::Type::dyn();
  environment.declare("object", dyn).declare("oldObject", dyn).declare("request", cel::admission_request_type()).declare("namespaceObject", cel::namespace_object_type());
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
    // The other member must not be there at all, and is not looked into.
    if (one["patchType"].text() != "JSONPatch") {
      check(one["applyConfiguration"]["expression"], environment);
      continue;
    }
    Cursor patch = one["jsonPatch"]["expression"];
    auto program = check(patch, environment);
    if (program && !is_json_patch(*program->type())) patch.invalid("must evaluate to list(JSONPatch) but got " + program->type()->to_string());
  }
}

}  // namespace kcube::machinery
