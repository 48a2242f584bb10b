// RBAC evaluation, as the Kubernetes RBAC documentation and the escalation check of kube-apiserver have it.
#include <algorithm>

#include "pkg/auth/auth.h"

namespace kcube::auth {
namespace {

using Strings = std::vector<std::string>;

bool has(const Strings& list, std::string_view wanted) {
  return std::find(list.begin(), list.end(), wanted) != list.end();
}
bool has_or_all(const Strings& list, std::string_view wanted) { return has(list, "*") || has(list, wanted); }

bool url_matches(std::string_view pattern, std::string_view path) {
  if (pattern == path) return true;
  if (!pattern.ends_with('*')) return false;
  auto last = pattern.find_last_not_of('*');
  return path.starts_with(pattern.substr(0, last == std::string_view::npos ? 0 : last + 1));
}

// `resource` may be "pods" or "pods/log"; "*/log" covers the latter, plain "pods" does not.
bool resource_matches(const Strings& rule, const std::string& resource) {
  if (has_or_all(rule, resource)) return true;
  auto slash = resource.find('/');
  return slash != std::string::npos && has(rule, "*" + resource.substr(slash));
}

// A rule of one verb, and one group, resource and name, or one URL.
bool covers(const PolicyRule& owner, const PolicyRule& single) {
  if (!has_or_all(owner.verbs, single.verbs[0])) return false;
  for (const auto& url : single.non_resource_urls)
    if (std::none_of(owner.non_resource_urls.begin(), owner.non_resource_urls.end(),
                     [&](const auto& pattern) { return url_matches(pattern, url); }))
      return false;
  if (!single.api_groups.empty() && !has_or_all(owner.api_groups, single.api_groups[0])) return false;
  if (!single.resources.empty() && !resource_matches(owner.resources, single.resources[0])) return false;
  if (owner.resource_names.empty()) return true;
  return !single.resource_names.empty() && has(owner.resource_names, single.resource_names[0]);
}

std::vector<PolicyRule> break_down(const PolicyRule& rule) {
  std::vector<PolicyRule> singles;
  for (const auto& verb : rule.verbs) {
    for (const auto& group : rule.api_groups)
      for (const auto& resource : rule.resources) {
        if (rule.resource_names.empty()) singles.push_back({{verb}, {group}, {resource}, {}, {}});
        for (const auto& name : rule.resource_names) singles.push_back({{verb}, {group}, {resource}, {name}, {}});
      }
    for (const auto& url : rule.non_resource_urls) singles.push_back({{verb}, {}, {}, {}, {url}});
  }
  return singles;
}

}  // namespace

bool User::in_group(std::string_view group) const { return has(groups, group); }

bool rule_allows(const PolicyRule& rule, const Attributes& attributes) {
  if (!has_or_all(rule.verbs, attributes.verb)) return false;
  if (!attributes.resource_request)
    return std::any_of(rule.non_resource_urls.begin(), rule.non_resource_urls.end(),
                       [&](const auto& pattern) { return url_matches(pattern, attributes.path); });
  if (!has_or_all(rule.api_groups, attributes.api_group)) return false;
  if (!rule.resource_names.empty() && !has(rule.resource_names, attributes.name)) return false;
  if (attributes.subresource.empty()) return has_or_all(rule.resources, attributes.resource);
  return resource_matches(rule.resources, attributes.resource + "/" + attributes.subresource);
}

bool rules_cover(const std::vector<PolicyRule>& owner, const std::vector<PolicyRule>& wanted,
                 std::vector<PolicyRule>* missing) {
  bool all = true;
  for (const auto& rule : wanted)
    for (auto& single : break_down(rule)) {
      if (std::any_of(owner.begin(), owner.end(), [&](const auto& own) { return covers(own, single); })) continue;
      all = false;
      if (!missing) return false;
      missing->push_back(std::move(single));
    }
  return all;
}

}  // namespace kcube::auth
