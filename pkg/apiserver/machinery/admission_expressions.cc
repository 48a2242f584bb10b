#include "pkg/apiserver/machinery/admission_expressions.h"

#include <map>
#include <memory>
#include <string>

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
  expression.invalid("must evaluate to " + (types.size() == 1 ? names : "one of [" + names + "]") + " but got " + (*program)->type()->to_string());
  return nullptr;
}

// A list of dyn, such as `[]`, is none.
bool is_json_patch(const cel::Type& type) {
  if (type.kind() == cel::TypeKind::dyn) return true;
  return type.kind() == cel::TypeKind::list && !type.parameters().empty() && type.parameters()[0]->kind() == cel::TypeKind::object;
}

// Fields by their own names: `request.namespace` is not written `request.__namespace__`, as in a schema it would be.
class PlainFields final : public cel::Fields {
 public:
  explicit PlainFields(std::initializer_list<std::pair<const char*, cel::TypeRef>> fields) {
    for (const auto& [name, type] : fields) fields_.emplace(name, cel::Field{type, name});
  }
  const cel::Field* find(std::string_view name) const override {
    auto it = fields_.find(name);
    return it == fields_.end() ? nullptr : &it->second;
  }
  const cel::Field* find_json(std::string_view name) const override { return find(name); }

 private:
  std::map<std::string, cel::Field, std::less<>> fields_;
};

cel::TypeRef object_type(const char* name, std::initializer_list<std::pair<const char*, cel::TypeRef>> fields) {
  return cel::Type::object(name, std::make_shared<PlainFields>(fields));
}

// What an AdmissionRequest has, but for object and oldObject.
const cel::TypeRef& request_type() {
  static const cel::TypeRef type = [] {
    const cel::TypeRef& text = cel::Type::string();
    auto kind = object_type("kubernetes.GroupVersionKind", {{"group", text}, {"version", text}, {"kind", text}});
    auto resource = object_type("kubernetes.GroupVersionResource", {{"group", text}, {"version", text}, {"resource", text}});
    auto user = object_type("kubernetes.UserInfo", {{"username", text}, {"uid", text}, {"groups", cel::Type::list(text)}, {"extra", cel::Type::map(text, cel::Type::list(text))}});
    return object_type("kubernetes.AdmissionRequest", {{"kind", kind}, {"resource", resource}, {"subResource", text}, {"requestKind", kind}, {"requestResource", resource},
                                                       {"requestSubResource", text}, {"name", text}, {"namespace", text}, {"operation", text}, {"userInfo", user},
                                                       {"dryRun", cel::Type::boolean()}, {"options", cel::Type::dyn()}});
  }();
  return type;
}

}  // namespace

cel::Environment admission_environment(bool with_params) {
  cel::Environment environment;
  const cel::TypeRef& dyn = cel::Type::dyn();
  environment.declare("object", dyn).declare("oldObject", dyn).declare("request", request_type()).declare("namespaceObject", dyn);
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
