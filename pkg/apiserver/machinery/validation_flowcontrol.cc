// FlowSchemas and PriorityLevelConfigurations.
#include <set>

#include "pkg/api/names.h"
#include "pkg/apiserver/flowcontrol/configuration.h"
#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

constexpr int64_t kMaxPrecedence = 10000, kMaxQueues = 10000000;

bool has_wildcard(const Cursor& list) {
  for (const Cursor& item : list.items())
    if (item.text() == "*") return true;
  return false;
}

// "*" stands alone.
void check_wildcard(const Cursor& list, std::string_view what) {
  if (list.size() > 1 && has_wildcard(list))
    list.invalid("if '*' is present, must not specify other " + std::string(what));
}

void validate_verbs(const Cursor& verbs) {
  if (verbs.empty()) return verbs.required("verbs must contain at least one value");
  check_wildcard(verbs, "verbs");
  if (has_wildcard(verbs)) return;
  for (const Cursor& verb : verbs.items()) {
    if (verb.in({"get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy"})) continue;
    verbs.not_supported({"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"});
    return;
  }
}

void validate_url(const Cursor& url) {
  std::string_view text = url.text();
  if (text.empty()) return url.invalid("must not be empty");
  if (text == "/") return;
  if (!text.starts_with('/')) return url.invalid("must start with slash");
  if (text.find(' ') != std::string_view::npos) return url.invalid("must not contain white-space");
  if (text.find("//") != std::string_view::npos) return url.invalid("must not contain double slash");
  size_t star = text.find('*');
  if (star != std::string_view::npos && (star != text.size() - 1 || !text.ends_with("/*")))
    url.invalid("wildcard can only do suffix matching");
}

void validate_subject(const Cursor& subject) {
  struct Kind {
    std::string_view kind, member;
  };
  static constexpr Kind kKinds[] = {{"ServiceAccount", "serviceAccount"}, {"User", "user"}, {"Group", "group"}};
  Cursor kind = subject["kind"];
  if (!kind.in({"Group", "ServiceAccount", "User"})) return kind.not_supported({"Group", "ServiceAccount", "User"});
  for (const Kind& k : kKinds) {
    Cursor part = subject[k.member];
    if (k.kind != kind.text()) {
      if (part.present())
        part.forbidden(std::string(k.member) + " is forbidden when subject kind is not '" + std::string(k.kind) + "'");
      continue;
    }
    if (!part.present()) {
      part.required(std::string(k.member) + " is required when subject kind is '" + std::string(k.kind) + "'");
      continue;
    }
    Cursor name = part["name"], space = part["namespace"];
    if (name.empty()) name.required();
    if (k.kind != "ServiceAccount") continue;
    if (!name.empty() && name.text() != "*") name.check(api::check_dns1123_subdomain(name.text()));
    if (space.empty())
      space.required("must specify namespace for service account");
    else
      space.check(api::check_dns1123_label(space.text()));
  }
}

void validate_resource_rule(const Cursor& rule) {
  validate_verbs(rule["verbs"]);
  if (rule["apiGroups"].empty()) rule["apiGroups"].required("resource rules must supply at least one api group");
  check_wildcard(rule["apiGroups"], "api groups");
  if (rule["resources"].empty()) rule["resources"].required("resource rules must supply at least one resource");
  check_wildcard(rule["resources"], "resources");
  Cursor spaces = rule["namespaces"];
  if (spaces.empty() && !rule["clusterScope"].flag())
    return spaces.required("resource rules that are not cluster scoped must supply at least one namespace");
  check_wildcard(spaces, "namespaces");
  if (has_wildcard(spaces)) return;
  for (const Cursor& space : spaces.items())
    if (std::string problem = api::check_dns1123_label(space.text()); !problem.empty())
      space.invalid("each member of this list must be '*' or a DNS-1123 label; " + problem);
}

void validate_rule(const Cursor& rule) {
  if (rule["subjects"].empty()) rule["subjects"].required("subjects must contain at least one value");
  for (const Cursor& subject : rule["subjects"].items()) validate_subject(subject);
  if (rule["resourceRules"].empty() && rule["nonResourceRules"].empty())
    rule.required("at least one of resourceRules and nonResourceRules has to be non-empty");
  for (const Cursor& one : rule["resourceRules"].items()) validate_resource_rule(one);
  for (const Cursor& one : rule["nonResourceRules"].items()) {
    validate_verbs(one["verbs"]);
    Cursor urls = one["nonResourceURLs"];
    if (urls.empty()) urls.required("nonResourceURLs must contain at least one value");
    check_wildcard(urls, "non-resource URLs");
    if (!has_wildcard(urls))
      for (const Cursor& url : urls.items()) validate_url(url);
  }
}

void validate_queuing(const Cursor& queuing) {
  Cursor queues = queuing["queues"], hand = queuing["handSize"], limit = queuing["queueLengthLimit"];
  if (limit.number() <= 0) limit.invalid(json::value(limit.number()), "must be positive");
  if (queues.number() <= 0)
    queues.invalid(json::value(queues.number()), "must be positive");
  else if (queues.number() > kMaxQueues)
    queues.invalid("must not be greater than 10000000");
  if (hand.number() <= 0)
    hand.invalid(json::value(hand.number()), "must be positive");
  else if (hand.number() > queues.number())
    hand.invalid("should not be greater than queues (" + std::to_string(queues.number()) + ")");
}

void validate_limited(const Cursor& limited) {
  if (limited["nominalConcurrencyShares"].number() < 0)
    limited["nominalConcurrencyShares"].invalid("must be a non-negative integer");
  Cursor response = limited["limitResponse"], queuing = response["queuing"];
  if (response["type"].one_of({"Queue", "Reject"})) {
    if (response["type"].text() == "Reject" && queuing.present())
      queuing.forbidden("must be nil if limited.limitResponse.type is not Limited");
    if (response["type"].text() == "Queue") {
      if (!queuing.present())
        queuing.required("must not be empty if limited.limitResponse.type is Limited");
      else
        validate_queuing(queuing);
    }
  }
  if (limited["borrowingLimitPercent"].number() < 0)
    limited["borrowingLimitPercent"].invalid("if specified, must be a non-negative integer");
}

void validate_conditions(const Cursor& conditions) {
  std::set<std::string_view> seen;
  for (const Cursor& condition : conditions.items()) {
    if (condition["type"].empty()) condition["type"].required();
    if (!seen.insert(condition["type"].text()).second) condition["type"].duplicate();
  }
}

// Of the objects that every server needs to be as they are.
void check_fixed(const Validation& v, std::string_view kind) {
  std::string_view name = v["metadata"]["name"].text();
  if (kind == "PriorityLevelConfiguration" && name == "exempt") return;   // its lending is free
  for (const json::value& fixed : flowcontrol::mandatory_objects())
    if (json::get_string(fixed, {"kind"}) == kind && json::get_string(fixed, {"metadata", "name"}) == name && *json::find(&fixed, "spec") != *v["spec"].value())
      v["spec"].invalid("spec of '" + std::string(name) + "' must equal the fixed value");
}

}  // namespace

void validate_flow_schema(const Validation& v) {
  if (!v.main()) return validate_conditions(v["status"]["conditions"]);
  Cursor spec = v["spec"], precedence = spec["matchingPrecedence"], level = spec["priorityLevelConfiguration"]["name"];
  if (precedence.number() <= 0) precedence.invalid(json::value(precedence.number()), "must be a positive value");
  if (precedence.number() > kMaxPrecedence) precedence.invalid("must not be greater than 10000");
  if (precedence.number() == 1 && v["metadata"]["name"].text() != "exempt")
    precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1");
  if (Cursor method = spec["distinguisherMethod"]; method.present() && !method["type"].in({"ByNamespace", "ByUser"}))
    method["type"].with(method.value()).not_supported({"ByNamespace", "ByUser"});
  if (level.empty())
    level.required("must reference a priority level");
  else
    level.check(api::check_dns1123_subdomain(level.text()));
  for (const Cursor& rule : spec["rules"].items()) validate_rule(rule);
  if (spec.present()) check_fixed(v, "FlowSchema");
}

void validate_priority_level(const Validation& v) {
  if (!v.main()) return validate_conditions(v["status"]["conditions"]);
  Cursor spec = v["spec"], type = spec["type"], limited = spec["limited"], exempt = spec["exempt"];
  bool is_exempt = type.text() == "Exempt";
  if (is_exempt != (v["metadata"]["name"].text() == "exempt"))
    type.invalid("must be 'Exempt' if and only if `name` is 'exempt'");
  if (!type.one_of({"Exempt", "Limited"})) return;
  if (is_exempt && limited.present()) limited.forbidden("must be nil if the type is not Limited");
  if (!is_exempt && exempt.present()) exempt.forbidden("must be nil if the type is Limited");
  if (!is_exempt && !limited.present()) limited.required("must not be empty when type is Limited");
  if (!is_exempt && limited.present()) validate_limited(limited);
  for (const Cursor& part : {limited, exempt})
    if (Cursor percent = part["lendablePercent"]; percent.present()) percent.between(0, 100);
  if (spec.present()) check_fixed(v, "PriorityLevelConfiguration");
}

}  // namespace kcube::machinery
