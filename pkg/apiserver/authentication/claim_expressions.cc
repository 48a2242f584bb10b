#include "pkg/apiserver/authentication/claim_expressions.h"

#include <cctype>
#include <set>

#include "pkg/api/errors.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

using ProgramPtr = ClaimExpressions::ProgramPtr;

std::unexpected<Status> problem(std::string text) { return fail(Status(401, "Unauthorized", std::move(text))); }

Result<ProgramPtr> compile(const std::string& at, const json::value* source, const char* variable, std::initializer_list<cel::TypeRef> types, const char* wanted) {
  std::string text(json::get_string(source));
  auto invalid = [&](const std::string& why) { return fail(Status::bad_request(at + ": Invalid value: " + json::serialize(json::value(text)) + ": " + why)); };
  if (trim(text).empty()) return fail(Status::bad_request(at + ": Required value: expression is required"));
  cel::Environment environment;
  environment.declare(variable, variable == std::string_view("claims") ? cel::Type::map(cel::Type::string(), cel::Type::dyn()) : cel::Type::dyn());
  auto program = cel::compile(text, environment);
  if (!program) return invalid("compilation failed: " + program.error().message());
  for (const cel::TypeRef& type : types)
    if (cel::returns(**program, *type)) return std::move(*program);
  return invalid(std::string("must evaluate to ") + wanted);
}

Result<std::vector<ClaimExpressions::Rule>> read_rules(const json::value* rules, const std::string& at, const char* variable) {
  std::vector<ClaimExpressions::Rule> out;
  size_t i = 0;
  for (const json::value& rule : json::get_array(rules)) {
    std::string here = at + "[" + std::to_string(i++) + "].expression";
    const json::value* expression = json::find(&rule, "expression");
    if (variable == std::string_view("claims") && json::get_string(expression).empty()) continue;   // of one claim and its value
    auto program = compile(here, expression, variable, {cel::Type::boolean()}, "bool");
    if (!program) return fail(program.error());
    out.push_back({std::string(json::get_string(rule, {"message"})), std::move(*program)});
  }
  return out;
}

// Whether the expression reads this claim, and not merely one whose name begins so.
bool reads(std::string_view expression, std::string_view claim) {
  std::string wanted = "claims." + std::string(claim);
  for (size_t at = 0; (at = expression.find(wanted, at)) != std::string_view::npos; at += wanted.size()) {
    size_t end = at + wanted.size();
    if (end == expression.size() || (!std::isalnum(static_cast<unsigned char>(expression[end])) && expression[end] != '_')) return true;
  }
  return false;
}

// An address that nobody has checked may be anybody's.
Result<void> check_email(const ClaimExpressions& e) {
  if (!e.username || !reads(e.username->source(), "email")) return {};
  auto verifies = [](const ProgramPtr& program) { return reads(program->source(), "email_verified"); };
  bool done = verifies(e.username);
  for (const auto& [key, program] : e.extra) done |= verifies(program);
  for (const auto& rule : e.claim_rules) done |= verifies(rule.program);
  if (done) return {};
  return fail(Status::bad_request("jwt[].claimMappings.username.expression: Invalid value: " + json::serialize(json::value(e.username->source())) +
                                  ": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"));
}

Result<void> read_extra(const json::value* extra, ClaimExpressions& out) {
  std::set<std::string> keys;
  size_t i = 0;
  for (const json::value& one : json::get_array(extra)) {
    std::string at = "jwt[].claimMappings.extra[" + std::to_string(i++) + "].", key(json::get_string(one, {"key"}));
    if (key.find('/') == std::string::npos) return fail(Status::bad_request(at + "key: Invalid value: \"" + key + "\": must be a domain-prefixed path (such as \"acme.io/foo\")"));
    if (key != to_lower(key)) return fail(Status::bad_request(at + "key: Invalid value: \"" + key + "\": must be lowercase"));
    std::string domain = key.substr(0, key.find('/'));
    for (const char* reserved : {"k8s.io", "kubernetes.io"})
      if (domain == reserved || domain.ends_with(std::string(".") + reserved))
        return fail(Status::bad_request(at + "key: Invalid value: \"" + key + "\": " + reserved + " and its subdomains are reserved for Kubernetes use"));
    if (!keys.insert(key).second) return fail(Status::bad_request(at + "key: Duplicate value: \"" + key + "\""));
    auto program = compile(at + "valueExpression", json::find(&one, "valueExpression"), "claims", {cel::Type::string(), cel::Type::list(cel::Type::string())}, "string or list(string)");
    if (!program) return fail(program.error());
    out.extra.emplace_back(std::move(key), std::move(*program));
  }
  return {};
}

Result<cel::Value> evaluate(const cel::Program& program, const char* variable, const json::value& document) {
  cel::Activation activation;
  activation.set(variable, cel::Value::json(document));
  return program.evaluate(activation);
}

// A string is a list of one; nothing, null and "" are none.
Result<std::vector<std::string>> texts_of(const cel::Program& program, const json::value& claims, const std::string& what) {
  auto value = evaluate(program, "claims", claims);
  if (!value) return problem("error evaluating " + what + " claim expression: " + value.error().message());
  auto document = cel::to_json(*value);
  if (!document) return problem(document.error().message());
  std::vector<std::string> out;
  if (document->is_null()) return out;
  if (document->is_string()) {
    if (!document->get_string().empty()) out.emplace_back(json::get_string(&*document));
    return out;
  }
  if (!document->is_array()) return problem(what + " claim expression must return a string or a list of strings");
  for (const json::value& one : document->get_array()) {
    if (!one.is_string()) return problem(what + " claim expression must return a string or a list of strings");
    out.emplace_back(json::get_string(&one));
  }
  return out;
}

Result<std::string> text_of(const cel::Program& program, const json::value& claims, const std::string& what) {
  auto value = evaluate(program, "claims", claims);
  if (!value) return problem("error evaluating " + what + " claim expression: " + value.error().message());
  if (!value->is(cel::Kind::string)) return problem("error evaluating " + what + " claim expression: " + what + " claim expression must return a string");
  return std::string(value->as_text());
}

Result<void> hold(const std::vector<ClaimExpressions::Rule>& rules, const char* variable, const json::value& document) {
  for (const auto& rule : rules) {
    auto value = evaluate(*rule.program, variable, document);
    if (!value) return problem("error evaluating " + std::string(variable == std::string_view("user") ? "user info" : "claim") + " validation expression: " + value.error().message());
    if (!value->is_true()) return problem("error evaluating " + std::string(variable == std::string_view("user") ? "user info" : "claim") + " validation rule: validation expression '" + rule.program->source() + "' failed: " + rule.message);
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const ClaimExpressions>> read_claim_expressions(const json::value& jwt) {
  auto out = std::make_shared<ClaimExpressions>();
  const json::value* mappings = json::find(&jwt, "claimMappings");
  struct Mapping {
    const char* name;
    ProgramPtr ClaimExpressions::*program;
    bool list;
  };
  for (auto [name, program, list] : {Mapping{"username", &ClaimExpressions::username, false}, {"groups", &ClaimExpressions::groups, true}, {"uid", &ClaimExpressions::uid, false}}) {
    const json::value* mapping = json::find(mappings, name);
    std::string at = "jwt[].claimMappings." + std::string(name);
    const json::value* expression = json::find(mapping, "expression");
    if (json::get_string(expression).empty()) continue;
    if (!json::get_string(json::find(mapping, "claim")).empty()) return fail(Status::bad_request(at + ": Invalid value: \"\": expression and claim can't both be set"));
    if (json::find(mapping, "prefix") != nullptr) return fail(Status::bad_request(at + ": Invalid value: \"\": prefix can't be set when expression is set"));
    auto compiled = list ? compile(at + ".expression", expression, "claims", {cel::Type::string(), cel::Type::list(cel::Type::string())}, "string or list(string)")
                         : compile(at + ".expression", expression, "claims", {cel::Type::string()}, "string");
    if (!compiled) return fail(compiled.error());
    (*out).*program = std::move(*compiled);
  }
  if (auto done = read_extra(json::find(mappings, "extra"), *out); !done) return fail(done.error());
  auto claim_rules = read_rules(json::find(&jwt, "claimValidationRules"), "jwt[].claimValidationRules", "claims");
  if (!claim_rules) return fail(claim_rules.error());
  auto user_rules = read_rules(json::find(&jwt, "userValidationRules"), "jwt[].userValidationRules", "user");
  if (!user_rules) return fail(user_rules.error());
  out->claim_rules = std::move(*claim_rules);
  out->user_rules = std::move(*user_rules);
  if (auto done = check_email(*out); !done) return fail(done.error());
  if (!out->username && !out->groups && !out->uid && out->extra.empty() && out->claim_rules.empty() && out->user_rules.empty()) return nullptr;
  return out;
}

Result<void> map_claims(const ClaimExpressions& e, const json::value& claims, auth::User& user) {
  if (e.username) {
    auto name = text_of(*e.username, claims, "username");
    if (!name) return fail(name.error());
    if (name->empty()) return problem("empty username via CEL expression is not allowed");
    user.name = std::move(*name);
  }
  if (e.groups) {
    auto groups = texts_of(*e.groups, claims, "groups");
    if (!groups) return fail(groups.error());
    user.groups = std::move(*groups);
  }
  if (e.uid) {
    auto uid = text_of(*e.uid, claims, "uid");
    if (!uid) return fail(uid.error());
    user.uid = std::move(*uid);
  }
  for (const auto& [key, program] : e.extra) {
    auto values = texts_of(*program, claims, "extra");
    if (!values) return fail(values.error());
    if (!values->empty()) user.extra[key] = std::move(*values);
  }
  return hold(e.claim_rules, "claims", claims);
}

Result<void> check_user(const ClaimExpressions& e, const auth::User& user) {
  if (e.user_rules.empty()) return {};
  json::array groups;
  for (const std::string& g : user.groups) groups.emplace_back(g);
  json::object extra;
  for (const auto& [key, values] : user.extra) {
    json::array list;
    for (const std::string& v : values) list.emplace_back(v);
    extra[key] = std::move(list);
  }
  json::value document = json::object{{"username", user.name}, {"uid", user.uid}, {"groups", std::move(groups)}, {"extra", std::move(extra)}};
  return hold(e.user_rules, "user", document);
}

}  // namespace kcube::apiserver
