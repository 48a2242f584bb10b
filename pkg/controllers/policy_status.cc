// The status of ValidatingAdmissionPolicies: what their expressions get wrong about the kinds that they name. Admission
// evaluates them untyped, so a member that no kind has is an error only when a request comes; here it is a warning before.
// Kinds of CustomResourceDefinitions are looked into again when those change, which the original does only when the policy
// does. MutatingAdmissionPolicies have no status. Source: the Kubernetes docs on type checking of policies.
#include <algorithm>
#include <map>
#include <tuple>

#include "pkg/api/schema.h"
#include "pkg/cel/admission_types.h"
#include "pkg/cel/authorizer.h"
#include "pkg/cel/program.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/policy_types.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

const api::GroupVersionResource kPolicies{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"};
const api::GroupVersionResource kDefinitions{"apiextensions.k8s.io", "v1", "customresourcedefinitions"};
constexpr const char* kByKind = "kind";   // index of definitions: "GROUP/KIND"
constexpr size_t kMostKinds = 10;         // of one rule

using KindName = std::tuple<std::string, std::string, std::string>;   // group, version, kind
using Kinds = std::map<KindName, cel::TypeRef>;                       // null: nothing is known of it

std::string to_string(const KindName& kind) { return std::get<0>(kind) + "/" + std::get<1>(kind) + ", Kind=" + std::get<2>(kind); }

// What a rule names outright, in order. Nothing when a pattern is among groups or versions; resources that are patterns or
// subresources are passed over.
std::vector<std::string> plain_names(const json::value& rule, const char* member, bool resources = false) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(json::find(&rule, member))) {
    std::string_view name = json::get_string(&v);
    if (name.find_first_of(resources ? "*/" : "*") == std::string_view::npos) out.emplace_back(name);
    else if (!resources) return {};
  }
  std::ranges::sort(out);
  return out;
}

// Where kinds are looked up.
class KindSource {
 public:
  explicit KindSource(const client::Informer& definitions) : definitions_(definitions) {}

  // The kinds that the policy's rules name.
  Kinds of(const json::value& policy) const {
    Kinds found;
    for (const json::value& rule : json::get_array(json::at(&policy, {"spec", "matchConstraints", "resourceRules"}))) {
      size_t count = 0;
      for (const std::string& group : plain_names(rule, "apiGroups"))
        for (const std::string& version : plain_names(rule, "apiVersions"))
          for (const std::string& resource : plain_names(rule, "resources", true))
            if (add(group, version, resource, found) && ++count == kMostKinds) return known(std::move(found));
    }
    return known(std::move(found));
  }

  // Of the policy's parameters; dyn when nothing is known.
  cel::TypeRef params(const json::value& policy) const {
    std::string version = string_at(policy, {"spec", "paramKind", "apiVersion"}), kind = string_at(policy, {"spec", "paramKind", "kind"});
    size_t slash = version.find('/');
    std::string group = slash == std::string::npos ? "" : version.substr(0, slash);
    version.erase(0, slash + 1);   // npos + 1 is 0
    if (const api::Type* type = api::Schema::builtin().find_kind(group, version, kind)) return builtin_type(*type);
    for (const api::ObjectPtr& definition : definitions_.by_index(kByKind, group + "/" + kind))
      if (cel::TypeRef type = defined_type(definition->value(), version)) return type;
    return cel::Type::dyn();
  }

 private:
  // False when there is no such resource.
  bool add(const std::string& group, const std::string& version, const std::string& resource, Kinds& found) const {
    const api::ResourceInfo* info = api::Schema::builtin().find_resource(group, version, resource);
    if (info != nullptr && info->type != nullptr) {
      found.try_emplace(KindName{group, version, info->kind}, builtin_type(*info->type));
      return true;
    }
    api::ObjectPtr definition = definitions_.get(resource + "." + group);
    if (!definition || !condition_is(definition->value(), "Established")) return false;
    found.try_emplace(KindName{group, version, string_at(definition->value(), {"spec", "names", "kind"})}, defined_type(definition->value(), version));
    return true;
  }

  static Kinds known(Kinds kinds) {
    std::erase_if(kinds, [](const auto& kind) { return kind.second == nullptr; });
    return kinds;
  }

  const client::Informer& definitions_;
};

// As the expressions of the policy see a request about one kind, its variables included.
cel::Environment environment_of(const json::value& policy, const cel::TypeRef& object, const cel::TypeRef& params) {
  cel::Environment environment;
  environment.declare("object", object).declare("oldObject", object).declare("request", cel::admission_request_type());
  environment.declare("namespaceObject", cel::namespace_object_type());
  environment.declare("authorizer", cel::authorizer_type()).declare("authorizer.requestResource", cel::resource_check_type());
  if (json::at(&policy, {"spec", "paramKind"}) != nullptr) environment.declare("params", params);
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

json::array warnings_about(const json::value& policy, const KindSource& kinds) {
  std::vector<std::pair<std::string, cel::Environment>> environments;
  const cel::TypeRef params = kinds.params(policy);
  for (const auto& [name, type] : kinds.of(policy)) environments.emplace_back(to_string(name), environment_of(policy, type, params));
  json::array out;
  auto check = [&](const std::string& at, std::string_view expression) {
    std::string warning;
    for (const auto& [name, environment] : environments)
      if (auto program = cel::compile(expression, environment); !program) warning += (warning.empty() ? "" : "\n") + name + ": " + program.error().message() + "\n";
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

// Whether a rule may speak of resources of the group, or parameters are of it.
bool concerns(const json::value& policy, std::string_view group) {
  for (const json::value& rule : json::get_array(json::at(&policy, {"spec", "matchConstraints", "resourceRules"})))
    for (const json::value& v : json::get_array(json::find(&rule, "apiGroups")))
      if (json::get_string(&v) == group) return true;
  return string_at(policy, {"spec", "paramKind", "apiVersion"}).starts_with(std::string(group) + "/");
}

class PolicyStatusController final : public Controller {
 public:
  explicit PolicyStatusController(Context context)
      : Controller(context, "validatingadmissionpolicy-status", 1), policies_(follow_own(kPolicies)), definitions_(follow_definitions()) {}

 private:
  client::Informer& follow_definitions() {
    client::Informer& definitions = follow(kDefinitions, [this](const api::Object& definition) {
      std::vector<std::string> keys;
      std::string group = string_at(definition.value(), {"spec", "group"});
      for (const api::ObjectPtr& policy : policies_.list())
        if (concerns(policy->value(), group)) keys.emplace_back(policy->name());
      return keys;
    });
    definitions.add_index(kByKind, [](const api::Object& definition) {
      return std::vector{string_at(definition.value(), {"spec", "group"}) + "/" + string_at(definition.value(), {"spec", "names", "kind"})};
    });
    return definitions;
  }

  // Nothing is written when it says so already.
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr policy = policies_.get(key);
    if (!policy || policy->deleting()) return {};
    json::object checking;
    if (json::array warnings = warnings_about(policy->value(), KindSource(definitions_)); !warnings.empty()) checking["expressionWarnings"] = std::move(warnings);
    json::object status;
    if (const json::value* old = json::find(&policy->value(), "status"); old != nullptr && old->is_object()) status = old->get_object();
    status["observedGeneration"] = json::get_int(policy->value(), {"metadata", "generation"});
    status["typeChecking"] = std::move(checking);
    return update_status(client_, kPolicies, *policy, json::value(std::move(status)));
  }

  client::Informer& policies_;
  client::Informer& definitions_;
};

}  // namespace

ControllerPtr make_policy_status_controller(Context context) { return std::make_unique<PolicyStatusController>(context); }

}  // namespace kcube::controllers
