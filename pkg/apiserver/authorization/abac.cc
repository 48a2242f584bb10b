#include "pkg/apiserver/authorization/abac.h"

#include <algorithm>

#include "pkg/api/json.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {

Result<AbacPolicy> AbacPolicy::parse(std::string_view text) {
  AbacPolicy policy;
  int number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    line = trim(line);
    if (line.empty() || line.starts_with('#')) continue;
    auto invalid = [&](const std::string& why) { return fail(Status::bad_request("line " + std::to_string(number) + ": " + why)); };
    auto object = json::parse(line);
    if (!object) return invalid(object.error().message());
    std::string_view version = json::get_string(*object, {"apiVersion"});
    bool v1 = version == "abac.authorization.kubernetes.io/v1beta1" && json::get_string(*object, {"kind"}) == "Policy";
    if (!v1) return invalid("expected a Policy of abac.authorization.kubernetes.io/v1beta1");
    const json::value* spec = json::find(&*object, "spec");
    auto at = [&](std::string_view name) { return std::string(json::get_string(json::find(spec, name))); };
    policy.rules_.push_back({at("user"), at("group"), at("namespace"), at("resource"), at("apiGroup"), at("nonResourcePath"), json::get_bool(json::find(spec, "readonly"))});
  }
  return policy;
}

bool AbacPolicy::matches(const Rule& rule, const auth::Attributes& a) {
  auto fits = [](const std::string& pattern, const std::string& value) { return pattern == "*" || pattern == value; };
  // "*" is everybody who is somebody.
  bool known = a.user.in_group("system:authenticated");
  bool named = !rule.user.empty() || !rule.group.empty();
  bool user = rule.user.empty() || (rule.user == "*" ? known : rule.user == a.user.name);
  bool group = rule.group.empty() || (rule.group == "*" ? known : a.user.in_group(rule.group));
  if (!named || !user || !group) return false;
  bool reads = a.verb == "get" || a.verb == "list" || a.verb == "watch";
  if (rule.readonly && !reads) return false;
  if (a.resource_request) return fits(rule.ns, a.namespace_) && fits(rule.resource, a.resource) && fits(rule.api_group, a.api_group);
  if (rule.path.ends_with('*') && rule.path.size() > 1) return a.path.starts_with(std::string_view(rule.path).substr(0, rule.path.size() - 1));
  return fits(rule.path, a.path);
}

bool AbacPolicy::allows(const auth::Attributes& a) const {
  return std::ranges::any_of(rules_, [&](const Rule& rule) { return matches(rule, a); });
}

}  // namespace kcube::apiserver
