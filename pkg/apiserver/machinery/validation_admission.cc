// Webhook configurations, and the structure of admission policies and their bindings.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/admission_expressions.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxConditions = 64;

bool has(const Cursor& list, std::string_view word) {
  for (const Cursor& item : list.items())
    if (item.text() == word) return true;
  return false;
}

void validate_rule_resources(const Cursor& resources) {
  if (resources.empty()) resources.required();
  std::set<std::string_view> all_of, everywhere;
  bool plain = false;
  for (const Cursor& item : resources.items()) {
    std::string_view text = item.text();
    if (text.empty()) {
      item.required();
      continue;
    }
    size_t slash = text.find('/');
    if (slash == std::string_view::npos) {
      plain = plain || text != "*";
      continue;
    }
    std::string_view resource = text.substr(0, slash), sub = text.substr(slash + 1);
    if (all_of.contains(resource))
      item.invalid("if '" + std::string(resource) + "/*' is present, must not specify " + std::string(text));
    if (everywhere.contains(sub))
      item.invalid("if '*/" + std::string(sub) + "' is present, must not specify " + std::string(text));
    if (sub == "*") all_of.insert(resource);
    if (resource == "*") everywhere.insert(sub);
  }
  if (resources.size() > 1 && has(resources, "*/*"))
    resources.invalid("if '*/*' is present, must not specify other resources");
  if (plain && has(resources, "*"))
    resources.invalid("if '*' is present, must not specify other resources without subresources");
}

void validate_rule(const Cursor& rule) {
  Cursor operations = rule["operations"], groups = rule["apiGroups"], versions = rule["apiVersions"];
  if (operations.empty()) operations.required();
  if (operations.size() > 1 && has(operations, "*"))
    operations.invalid("if '*' is present, must not specify other operations");
  for (const Cursor& operation : operations.items())
    if (!operation.in({"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}))
      operation.not_supported({"*", "CONNECT", "CREATE", "DELETE", "UPDATE"});
  if (groups.empty()) groups.required();
  if (groups.size() > 1 && has(groups, "*")) groups.invalid("if '*' is present, must not specify other API groups");
  if (versions.empty()) versions.required();
  if (versions.size() > 1 && has(versions, "*"))
    versions.invalid("if '*' is present, must not specify other API versions");
  for (const Cursor& version : versions.items())
    if (version.empty()) version.required();
  validate_rule_resources(rule["resources"]);
  rule["scope"].one_of_if_set({"*", "Cluster", "Namespaced"});
}

void validate_review_versions(const Cursor& versions) {
  if (versions.empty()) return versions.required("must specify one of v1, v1beta1");
  std::set<std::string_view> seen;
  for (const Cursor& version : versions.items()) {
    if (!seen.insert(version.text()).second)
      version.invalid("duplicate version");
    else
      version.check(api::check_dns1035_label(version.text()));
  }
  if (!seen.contains("v1") && !seen.contains("v1beta1")) versions.invalid("must include at least one of v1, v1beta1");
}

// A name of at least three parts.
void validate_hook_name(const Cursor& name) {
  if (name.empty()) return name.required();
  if (!name.check(api::check_dns1123_subdomain(name.text()))) return;
  if (split(name.text(), '.').size() < 3)
    name.invalid("should be a domain with at least three segments separated by dots");
}

void validate_conditions(const Cursor& conditions) {
  if (conditions.size() > kMaxConditions) conditions.too_many(kMaxConditions);
  std::set<std::string_view> names;
  for (const Cursor& condition : conditions.items()) {
    if (trim(condition["expression"].text()).empty()) condition["expression"].required();
    Cursor name = condition["name"];
    if (name.empty())
      name.required();
    else
      validate_label_key(name);
    if (!name.empty() && !names.insert(name.text()).second) name.duplicate();
  }
}

void validate_hook(const Cursor& hook, bool mutating) {
  validate_hook_name(hook["name"]);
  for (const Cursor& rule : hook["rules"].items()) validate_rule(rule);
  hook["failurePolicy"].one_of_if_set({"Fail", "Ignore"});
  hook["matchPolicy"].one_of_if_set({"Equivalent", "Exact"});
  Cursor effects = hook["sideEffects"], timeout = hook["timeoutSeconds"];
  if (!effects.present())
    effects.required("must specify one of None, NoneOnDryRun");
  else if (!effects.in({"None", "NoneOnDryRun"}))
    effects.not_supported({"None", "NoneOnDryRun"});
  if (timeout.present() && (timeout.number() < 1 || timeout.number() > 30))
    timeout.invalid("the timeout value must be between 1 and 30 seconds");
  validate_label_selector(hook["namespaceSelector"]);
  validate_label_selector(hook["objectSelector"]);
  if (mutating) hook["reinvocationPolicy"].one_of_if_set({"IfNeeded", "Never"});
  validate_webhook_client(hook["clientConfig"]);
  validate_conditions(hook["matchConditions"]);
  validate_review_versions(hook["admissionReviewVersions"]);
}

void validate_hooks(const Validation& v, bool mutating) {
  // What is stored already may have been made by another version, which knew more.
  bool changed = v.creating() || !same(v["webhooks"].value(), v.before({"webhooks"}));
  std::set<std::string_view> names;
  for (const Cursor& hook : v["webhooks"].items()) {
    validate_hook(hook, mutating);
    if (changed) validate_condition_expressions(hook["matchConditions"], false);
    if (!hook["name"].empty() && !names.insert(hook["name"].text()).second) hook["name"].duplicate();
  }
}

void validate_match(const Cursor& match) {
  if (!match.present()) return;
  match["matchPolicy"].one_of_if_set({"Equivalent", "Exact"});
  if (!match["namespaceSelector"].present()) match["namespaceSelector"].required();
  if (!match["objectSelector"].present()) match["objectSelector"].required();
  validate_label_selector(match["namespaceSelector"]);
  validate_label_selector(match["objectSelector"]);
  for (std::string_view list : {"resourceRules", "excludeResourceRules"})
    for (const Cursor& rule : match[list].items()) validate_rule(rule);
}

bool is_cel_identifier(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  for (unsigned char c : name)
    if (!std::isalnum(c) && c != '_') return false;
  for (std::string_view reserved :
       {"true", "false",  "null", "in",   "as",      "break",     "const",  "continue", "else", "for",  "function",
        "if",   "import", "let",  "loop", "package", "namespace", "return", "var",      "void", "while"})
    if (name == reserved) return false;
  return true;
}

void validate_param_kind(const Cursor& kind) {
  if (!kind.present()) return;
  Cursor version = kind["apiVersion"];
  if (version.empty()) version.required();
  if (kind["kind"].empty())
    kind["kind"].required();
  else if (!api::check_dns1035_label(to_lower(kind["kind"].text())).empty())
    kind["kind"].invalid("may have mixed case, but should otherwise match: " +
                         api::check_dns1035_label(to_lower(kind["kind"].text())));
}

void validate_variables(const Cursor& variables) {
  for (const Cursor& variable : variables.items()) {
    Cursor name = variable["name"];
    if (trim(name.text()).empty())
      name.required("name is not specified");
    else if (!is_cel_identifier(name.text()))
      name.invalid("must be a valid CEL identifier");
    if (trim(variable["expression"].text()).empty()) variable["expression"].required("expression is not specified");
  }
}

void validate_validations(const Cursor& validations) {
  for (const Cursor& one : validations.items()) {
    if (trim(one["expression"].text()).empty()) one["expression"].required("expression is not specified");
    Cursor message = one["message"], expression = one["messageExpression"];
    if (!expression.empty() && trim(expression.text()).empty()) expression.invalid("must be non-empty if specified");
    if (!message.empty() && trim(message.text()).empty())
      message.invalid("must be non-empty if specified");
    else if (trim(message.text()).find_first_of("\r\n") != std::string_view::npos)
      message.invalid("must not contain line breaks");
    one["reason"].one_of_if_set({"Forbidden", "Invalid", "RequestEntityTooLarge"});
  }
}

void validate_binding_spec(const Cursor& spec) {
  if (spec["policyName"].empty())
    spec["policyName"].required();
  else
    spec["policyName"].check(api::check_dns1123_subdomain(spec["policyName"].text()));
  if (Cursor ref = spec["paramRef"]; ref.present()) {
    Cursor name = ref["name"], selector = ref["selector"], missing = ref["parameterNotFoundAction"];
    if (!name.empty()) name.check(api::check_path_segment(name.text()));
    if (!name.empty() && selector.present()) {
      name.forbidden("name and selector are mutually exclusive");
      selector.forbidden("name and selector are mutually exclusive");
    }
    validate_label_selector(selector);
    if (name.empty() && !selector.present()) ref.required("one of name or selector must be specified");
    missing.one_of({"Deny", "Allow"});
  }
  validate_match(spec["matchResources"]);
}

}  // namespace

void validate_webhook_client(const Cursor& client) {
  Cursor url = client["url"], service = client["service"];
  if (url.present() == service.present()) return client.required("exactly one of url or service is required");
  if (url.present()) {
    std::string_view text = url.text();
    constexpr std::string_view kForm = "; desired format: https://host[/path]";
    size_t scheme = text.find("://");
    std::string_view rest = scheme == std::string_view::npos ? std::string_view() : text.substr(scheme + 3);
    std::string_view host = rest.substr(0, rest.find_first_of("/?#"));
    if (text.substr(0, scheme == std::string_view::npos ? 0 : scheme) != "https")
      url.invalid_text(text.substr(0, scheme == std::string_view::npos ? 0 : scheme),
                       "'https' is the only allowed URL scheme" + std::string(kForm));
    if (host.empty()) url.invalid_text("", "host must be specified" + std::string(kForm));
    if (size_t at = host.find('@'); at != std::string_view::npos)
      url.invalid_text(host.substr(0, at), "user information is not permitted in the URL");
    if (size_t hash = rest.find('#'); hash != std::string_view::npos)
      url.invalid_text(rest.substr(hash + 1), "fragments are not permitted in the URL");
    size_t query = rest.find('?');
    if (query != std::string_view::npos) {
      std::string_view parameters = rest.substr(query + 1);
      url.invalid_text(parameters.substr(0, parameters.find('#')), "query parameters are not permitted in the URL");
    }
    return;
  }
  if (service["name"].empty()) service["name"].required();
  if (service["namespace"].empty()) service["namespace"].required();
  int64_t port = service["port"].number(443);
  if (port < 1 || port > 65535) service["port"].invalid("port is not valid: must be between 1 and 65535, inclusive");
  Cursor path = service["path"];
  if (!path.present() || path.empty()) return;
  if (!path.text().starts_with('/')) path.invalid("must start with a '/'");
  std::vector<std::string_view> segments = split(path.text(), '/');
  if (segments.back().empty()) segments.pop_back();
  if (segments.size() < 2) path.invalid("segment[0] may not be empty");
  for (size_t i = 1; i < segments.size(); ++i) {
    std::string at = "segment[" + std::to_string(i - 1) + "]";
    if (segments[i].empty())
      path.invalid(at + " may not be empty");
    else if (std::string problem = api::check_dns1123_subdomain(segments[i]); !problem.empty())
      path.invalid(at + ": " + problem);
  }
}

void validate_validating_webhooks(const Validation& v) { validate_hooks(v, false); }
void validate_mutating_webhooks(const Validation& v) { validate_hooks(v, true); }

void validate_admission_policy(const Validation& v) {
  if (!v.main()) return;
  Cursor spec = v["spec"];
  spec["failurePolicy"].one_of({"Fail", "Ignore"});
  validate_param_kind(spec["paramKind"]);
  Cursor match = spec["matchConstraints"];
  if (!match.present()) match.required();
  validate_match(match);
  if (match.present() && match["resourceRules"].empty()) match["resourceRules"].required();
  validate_conditions(spec["matchConditions"]);
  validate_variables(spec["variables"]);
  if (v.creating() || !same(spec.value(), v.before({"spec"}))) validate_policy_expressions(spec);
  if (spec["validations"].empty() && spec["auditAnnotations"].empty()) {
    spec["validations"].required("validations or auditAnnotations must contain at least one item");
    spec["auditAnnotations"].required("validations or auditAnnotations must contain at least one item");
  }
  validate_validations(spec["validations"]);
  std::set<std::string_view> keys;
  for (const Cursor& annotation : spec["auditAnnotations"].items()) {
    std::string full = std::string(v["metadata"]["name"].text()) + "/" + std::string(annotation["key"].text());
    json::value shown(full);
    validate_label_key(annotation["key"].with(&shown));
    if (trim(annotation["valueExpression"].text()).empty())
      annotation["valueExpression"].required("valueExpression is not specified");
    if (!keys.insert(annotation["key"].text()).second) annotation["key"].duplicate();
  }
}

void validate_admission_policy_binding(const Validation& v) {
  Cursor spec = v["spec"], actions = spec["validationActions"];
  validate_binding_spec(spec);
  if (actions.empty()) actions.required("at least one validation action is required");
  std::set<std::string_view> seen;
  for (const Cursor& action : actions.items()) {
    if (!action.in({"Audit", "Deny", "Warn"})) action.not_supported({"Audit", "Deny", "Warn"});
    if (!seen.insert(action.text()).second) action.duplicate();
  }
  if (seen.contains("Deny") && seen.contains("Warn"))
    actions.invalid(
        "must not contain both Deny and Warn (repeating the same validation failure information in the API response "
        "and headers serves no purpose)");
}

void validate_mutating_policy(const Validation& v) {
  Cursor spec = v["spec"], match = spec["matchConstraints"];
  spec["failurePolicy"].one_of({"Fail", "Ignore"});
  validate_param_kind(spec["paramKind"]);
  if (!match.present()) match.required();
  validate_match(match);
  if (match.present() && match["resourceRules"].empty()) match["resourceRules"].required();
  // Nothing is left to change of what is being deleted.
  Cursor operations = match["resourceRules"]["operations"];
  for (const Cursor& rule : match["resourceRules"].items())
    for (const Cursor& operation : rule["operations"].items())
      if (!operation.in({"*", "CONNECT", "CREATE", "UPDATE"}))
        operation.renamed(operations.path()).not_supported({"*", "CONNECT", "CREATE", "UPDATE"});
  validate_conditions(spec["matchConditions"]);
  validate_variables(spec["variables"]);
  if (v.creating() || !same(spec.value(), v.before({"spec"}))) validate_policy_expressions(spec);
  if (spec["mutations"].empty()) spec["mutations"].required("mutations must contain at least one item");
  for (const Cursor& mutation : spec["mutations"].items()) {
    Cursor type = mutation["patchType"];
    if (!type.one_of({"ApplyConfiguration", "JSONPatch"})) continue;
    bool json_patch = type.text() == "JSONPatch";
    Cursor wanted = mutation[json_patch ? "jsonPatch" : "applyConfiguration"],
           other = mutation[json_patch ? "applyConfiguration" : "jsonPatch"];
    if (!wanted.present())
      wanted.required("must be specified when patchType is " + std::string(type.text()));
    else if (trim(wanted["expression"].text()).empty())
      wanted["expression"].required();
    if (other.present())
      other.invalid_text(json_patch ? "{applyConfiguration}" : "{jsonPatch}",
                         "must not be specified when patchType is " + std::string(type.text()));
  }
  spec["reinvocationPolicy"].one_of({"IfNeeded", "Never"});
}

void validate_mutating_policy_binding(const Validation& v) { validate_binding_spec(v["spec"]); }

}  // namespace kcube::machinery
