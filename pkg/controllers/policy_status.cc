// The status of ValidatingAdmissionPolicies: what their expressions get wrong about the kinds that they name. Admission
// evaluates them untyped, so a member that no kind has is an error only when a request comes; here it is a warning before.
// Kinds of CustomResourceDefinitions are not looked into. Source: the Kubernetes docs on type checking of policies.
#include <map>
#include <mutex>

#include "pkg/api/schema.h"
#include "pkg/cel/authorizer.h"
#include "pkg/cel/program.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

const api::GroupVersionResource kPolicies{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"};
constexpr size_t kMostKinds = 10;   // of one policy

cel::TypeRef type_of(const api::Type& type);

// A field's type without regard to its shape.
cel::TypeRef single(api::FieldKind kind, const api::Type* type) {
  using enum api::FieldKind;
  switch (kind) {
    case string: return cel::Type::string();
    case boolean: return cel::Type::boolean();
    case int32:
    case int64: return cel::Type::integer();
    case number: return cel::Type::number();
    case bytes: return cel::Type::bytes();
    case time:
    case micro_time: return cel::Type::timestamp();
    case message: return type != nullptr ? type_of(*type) : cel::Type::dyn();
    default: return cel::Type::dyn();
  }
}

// The fields of a built-in type, made as expressions name them.
class SchemaFields final : public cel::Fields {
 public:
  explicit SchemaFields(const api::Type& type) : type_(type) {}
  const cel::Field* find(std::string_view name) const override {
    auto json_name = cel::unescape_field(name);
    return json_name ? find_json(*json_name) : nullptr;
  }
  const cel::Field* find_json(std::string_view name) const override {
    const api::Field* field = type_.field(name);
    if (field == nullptr) return nullptr;
    std::lock_guard lock(mutex_);
    auto [it, is_new] = made_.try_emplace(std::string(name));
    if (is_new) it->second = {shaped(*field), std::string(name)};
    return &it->second;
  }

 private:
  static cel::TypeRef shaped(const api::Field& field) {
    cel::TypeRef one = single(field.kind, field.type);
    switch (field.shape) {
      case api::Shape::single: return one;
      case api::Shape::list: return cel::Type::list(one);
      case api::Shape::map: return cel::Type::map(cel::Type::string(), one);
      case api::Shape::map_of_list: return cel::Type::map(cel::Type::string(), cel::Type::list(one));
    }
    return one;
  }

  const api::Type& type_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, cel::Field, std::less<>> made_;   // nodes stay where they are
};

cel::TypeRef type_of(const api::Type& type) {
  if (type.scalar != api::FieldKind::message) return single(type.scalar, nullptr);
  if (type.open) return cel::Type::dyn();
  return cel::Type::object(std::string(type.name), std::make_shared<SchemaFields>(type));
}

struct Checked {
  std::string name;         // "apps/v1, Kind=Deployment"
  cel::TypeRef type;
};

bool is_pattern(std::string_view name) { return name.find('*') != std::string_view::npos || name.find('/') != std::string_view::npos; }

std::vector<std::string> plain_names(const json::value& rule, const char* member) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(json::find(&rule, member)))
    if (!is_pattern(json::get_string(&v))) out.emplace_back(json::get_string(&v));
  return out;
}

// What the rules name outright.
std::vector<Checked> kinds_of(const json::value& policy) {
  const api::Schema& schema = api::Schema::builtin();
  std::map<std::string, Checked> found;
  for (const json::value& rule : json::get_array(json::at(&policy, {"spec", "matchConstraints", "resourceRules"})))
    for (const std::string& group : plain_names(rule, "apiGroups"))
      for (const std::string& version : plain_names(rule, "apiVersions"))
        for (const std::string& resource : plain_names(rule, "resources")) {
          const api::ResourceInfo* info = schema.find_resource(group, version, resource);
          if (info == nullptr || info->type == nullptr) continue;
          std::string name = (group.empty() ? "" : group) + "/" + version + ", Kind=" + std::string(info->kind);
          found.try_emplace(name, Checked{name, type_of(*info->type)});
        }
  std::vector<Checked> out;
  for (auto& [name, one] : found)
    if (out.size() < kMostKinds) out.push_back(std::move(one));
  return out;
}

cel::TypeRef params_type(const json::value& policy) {
  std::string version = string_at(policy, {"spec", "paramKind", "apiVersion"});
  size_t slash = version.find('/');
  std::string group = slash == std::string::npos ? "" : version.substr(0, slash);
  const api::Type* type = api::Schema::builtin().find_kind(group, version.substr(slash + 1), string_at(policy, {"spec", "paramKind", "kind"}));   // npos + 1 is 0
  return type != nullptr ? type_of(*type) : cel::Type::dyn();
}

// As the expressions of the policy see a request about one kind, its variables included.
cel::Environment environment_of(const json::value& policy, const cel::TypeRef& object) {
  cel::Environment environment;
  environment.declare("object", object).declare("oldObject", object).declare("request", cel::Type::dyn()).declare("namespaceObject", cel::Type::dyn());
  environment.declare("authorizer", cel::authorizer_type()).declare("authorizer.requestResource", cel::resource_check_type());
  if (json::at(&policy, {"spec", "paramKind"}) != nullptr) environment.declare("params", params_type(policy));
  std::vector<std::pair<std::string, cel::TypeRef>> variables;
  auto declare = [&] { environment.declare("variables", cel::Type::object("kubernetes.variables", cel::make_fields(variables))); };
  for (const json::value& v : json::get_array(json::at(&policy, {"spec", "variables"}))) {
    declare();
    auto program = cel::compile(json::get_string(v, {"expression"}), environment);
    variables.emplace_back(json::get_string(v, {"name"}), program ? (*program)->type() : cel::Type::dyn());
  }
  declare();
  return environment;
}

json::array warnings_about(const json::value& policy) {
  std::vector<std::pair<std::string, cel::Environment>> environments;
  for (const Checked& kind : kinds_of(policy)) environments.emplace_back(kind.name, environment_of(policy, kind.type));
  json::array out;
  auto check = [&](const std::string& at, std::string_view expression) {
    std::string warning;
    for (const auto& [name, environment] : environments)
      if (auto program = cel::compile(expression, environment); !program) warning += name + ": " + program.error().message() + "\n";
    if (!warning.empty()) out.push_back(json::object{{"fieldRef", at}, {"warning", warning}});
  };
  size_t i = 0;
  for (const json::value& v : json::get_array(json::at(&policy, {"spec", "validations"}))) {
    std::string at = "spec.validations[" + std::to_string(i++) + "].";
    check(at + "expression", json::get_string(v, {"expression"}));
    if (std::string_view message = json::get_string(v, {"messageExpression"}); !message.empty()) check(at + "messageExpression", message);
  }
  return out;
}

class PolicyStatusController final : public Controller {
 public:
  explicit PolicyStatusController(Context context) : Controller(context, "validatingadmissionpolicy-status", 1), policies_(follow_own(kPolicies)) {}

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr policy = policies_.get(key);
    if (!policy || policy->deleting()) return {};
    int64_t generation = json::get_int(policy->value(), {"metadata", "generation"});
    if (generation <= json::get_int(policy->value(), {"status", "observedGeneration"})) return {};
    json::object checking;
    if (json::array warnings = warnings_about(policy->value()); !warnings.empty()) checking["expressionWarnings"] = std::move(warnings);
    json::object status;
    if (const json::value* old = json::find(&policy->value(), "status"); old != nullptr && old->is_object()) status = old->get_object();
    status["observedGeneration"] = generation;
    status["typeChecking"] = std::move(checking);
    return update_status(client_, kPolicies, *policy, json::value(std::move(status)));
  }

  client::Informer& policies_;
};

}  // namespace

ControllerPtr make_policy_status_controller(Context context) { return std::make_unique<PolicyStatusController>(context); }

}  // namespace kcube::controllers
