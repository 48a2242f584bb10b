// Roles and bindings: nobody gives away what he does not have himself, unless he may `escalate` or `bind`.
// Source: the Kubernetes docs on RBAC, "privilege escalation prevention"; messages observed from kube-apiserver.
#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/authorizer.h"
#include "pkg/apiserver/strategy.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

std::string quoted_list(const std::vector<std::string>& list) {
  std::string text = "[";
  for (const std::string& s : list) {
    if (text.size() > 1) text += ' ';
    json::append_quoted(text, s);
  }
  return text + "]";
}

std::string rule_text(const auth::PolicyRule& rule) {
  std::string text;
  auto add = [&](const char* name, const std::vector<std::string>& list) {
    if (!list.empty()) text += (text.empty() ? "" : ", ") + std::string(name) + ":" + quoted_list(list);
  };
  add("APIGroups", rule.api_groups);
  add("Resources", rule.resources);
  add("NonResourceURLs", rule.non_resource_urls);
  add("ResourceNames", rule.resource_names);
  add("Verbs", rule.verbs);
  return "{" + text + "}";
}

// One line for all verbs that are missing on the same thing, in order.
std::string missing_text(const std::vector<auth::PolicyRule>& missing) {
  std::vector<auth::PolicyRule> joined;
  for (const auth::PolicyRule& rule : missing) {
    auto same = std::ranges::find_if(joined, [&](const auth::PolicyRule& j) {
      return j.api_groups == rule.api_groups && j.resources == rule.resources && j.resource_names == rule.resource_names && j.non_resource_urls == rule.non_resource_urls && rule.non_resource_urls.empty();
    });
    if (same == joined.end()) joined.push_back(rule);
    else same->verbs.insert(same->verbs.end(), rule.verbs.begin(), rule.verbs.end());
  }
  std::vector<std::string> lines;
  for (const auth::PolicyRule& rule : joined) lines.push_back(rule_text(rule));
  std::ranges::sort(lines);
  return join(lines, "\n");
}

bool may(Write& write, std::string_view verb, std::string_view resource, std::string_view ns, std::string_view name) {
  auth::Attributes a;
  a.user = write.call.user;
  a.verb = verb;
  a.api_group = kGroup;
  a.api_version = "v1";
  a.resource = resource;
  a.namespace_ = ns;
  a.name = name;
  return write.core.authorizer.decide(a).allowed;
}

bool is_above(const Write& write) { return write.call.trusted || write.call.user.in_group("system:masters"); }

std::unexpected<Status> forbidden(const Write& write, const std::string& message) {
  return fail(api::forbidden(kGroup, write.call.resource->resource(), write.call.name, message));
}

Result<void> confirm(Write& write, std::string_view ns, const std::vector<auth::PolicyRule>& rules) {
  const auth::User& user = write.call.user;
  std::vector<auth::PolicyRule> missing;
  if (auth::rules_cover(write.core.authorizer.rules_of(user, ns), rules, &missing)) return {};
  return forbidden(write, "user \"" + user.name + "\" (groups=" + quoted_list(user.groups) + ") is attempting to grant RBAC permissions not currently held:\n" + missing_text(missing));
}

Result<void> check_role(const json::object& role, const json::object* old, Write& write) {
  const Call& call = write.call;
  std::string_view resource = call.resource->resource();
  if (is_above(write) || may(write, "escalate", resource, call.ns, call.name)) return {};
  auto aggregates = [](const json::object* o) { return o != nullptr && o->if_contains("aggregationRule") != nullptr && o->at("aggregationRule").is_object(); };
  if (resource == "clusterroles" && (aggregates(&role) || aggregates(old))) {
    const std::vector<auth::PolicyRule> all{{{"*"}, {"*"}, {"*"}, {}, {}}, {{"*"}, {}, {}, {}, {"*"}}};
    if (!auth::rules_cover(write.core.authorizer.rules_of(call.user, ""), all, nullptr)) return forbidden(write, "must have cluster-admin privileges to use the aggregationRule");
  }
  return confirm(write, call.ns, read_rules(role.if_contains("rules")));
}

Result<void> check_binding(const json::object& binding, Write& write) {
  const Call& call = write.call;
  if (is_above(write)) return {};
  const json::value* ref = binding.if_contains("roleRef");
  std::string_view kind = json::get_string(json::find(ref, "kind")), name = json::get_string(json::find(ref, "name"));
  if (may(write, "bind", kind == "Role" ? "roles" : "clusterroles", call.ns, name)) return {};
  auto rules = write.core.authorizer.role_rules(call.ns, kind, name);
  if (!rules) return fail(api::not_found(kGroup, call.resource->resource(), name));
  return confirm(write, call.ns, *rules);
}

// Taking owner references or finalizers from what is being deleted gives nobody anything.
bool only_lets_go(const json::object& now, const json::object& old, const char* member) {
  const json::value *a = now.if_contains(member), *b = old.if_contains(member);
  bool same = a == nullptr || b == nullptr ? a == b : *a == *b;
  return same && now.if_contains("aggregationRule") == nullptr && json::find(old.if_contains("metadata"), "deletionTimestamp") != nullptr;
}

Result<void> create_role(json::object& role, Write& write) { return check_role(role, nullptr, write); }
Result<void> update_role(json::object& role, const json::object& old, Write& write) { return only_lets_go(role, old, "rules") ? Result<void>() : check_role(role, &old, write); }
Result<void> create_binding(json::object& binding, Write& write) { return check_binding(binding, write); }
Result<void> update_binding(json::object& binding, const json::object& old, Write& write) { return only_lets_go(binding, old, "subjects") ? Result<void>() : check_binding(binding, write); }

}  // namespace

const Strategy kRoleStrategy{.creates_on_update = true, .prepare_create = create_role, .prepare_update = update_role};
const Strategy kRoleBindingStrategy{.creates_on_update = true, .prepare_create = create_binding, .prepare_update = update_binding};

}  // namespace kcube::apiserver
