#include "pkg/apiserver/audit/policy.h"

#include <algorithm>
#include <optional>

#include "pkg/api/names.h"
#include "pkg/api/yaml.h"

namespace kcube::apiserver::audit {
namespace {

constexpr const char* kLevels[] = {"None", "Metadata", "Request", "RequestResponse"};
constexpr const char* kStages[] = {"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"};

std::vector<std::string> strings(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(list)) out.emplace_back(json::get_string(&v));
  return out;
}

bool has(const std::vector<std::string>& list, std::string_view wanted) { return std::ranges::find(list, wanted) != list.end(); }

Result<unsigned> read_stages(const json::value* list) {
  unsigned bits = 0;
  for (const std::string& name : strings(list)) {
    auto known = std::ranges::find_if(kStages, [&](const char* s) { return name == s; });
    if (known == std::end(kStages)) return fail(Status::bad_request("omitStages: Invalid value: \"" + name + "\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic"));
    bits |= 1U << (known - std::begin(kStages));
  }
  return bits;
}

// "pods", "pods/log", "pods/*", "*/scale", "*".
bool resource_fits(const std::string& pattern, const auth::Attributes& a) {
  if (pattern == "*") return true;
  std::string whole = a.subresource.empty() ? a.resource : a.resource + "/" + a.subresource;
  if (pattern == whole) return true;
  // The resource itself is among its subresources.
  if (pattern.ends_with("/*") && pattern.substr(0, pattern.size() - 2) == a.resource) return true;
  return !a.subresource.empty() && pattern.starts_with("*/") && pattern.substr(2) == a.subresource;
}

bool url_fits(const std::string& pattern, const std::string& path) {
  if (pattern == path || pattern == "*") return true;
  return pattern.ends_with('*') && path.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
}

}  // namespace

const char* level_name(Level level) { return kLevels[static_cast<int>(level)]; }
const char* stage_name(Stage stage) { return kStages[static_cast<int>(stage)]; }

Result<void> Policy::validate(const Rule& rule, const std::string& where) {
  size_t i = 0;
  for (const std::string& url : rule.urls) {
    auto wrong = [&](const char* why) { return fail(Status::bad_request(where + "nonResourceURLs[" + std::to_string(i) + "]: Invalid value: \"" + url + "\": " + why)); };
    if (url != "*" && !url.starts_with('/')) return wrong("non-resource URL rules must begin with a '/' character");
    if (url != "*" && url.find('*') < url.size() - 1) return wrong("non-resource URL wildcards '*' must be the final character of the rule");
    ++i;
  }
  for (const Resources& r : rule.resources) {
    std::string wrong = r.group.empty() || r.group == "*" ? "" : api::check_dns1123_subdomain(r.group);
    if (!wrong.empty()) return fail(Status::bad_request(where + "resources.group: Invalid value: \"" + r.group + "\": " + wrong));
    if (!r.names.empty() && r.resources.empty()) return fail(Status::bad_request(where + "resources.resourceNames: Invalid value: using resourceNames requires at least one resource"));
  }
  return {};
}

Result<std::shared_ptr<const Policy>> Policy::parse(std::string_view text) {
  auto document = api::parse_yaml(text);
  if (!document) return fail(document.error());
  if (json::get_string(*document, {"kind"}) != "Policy" || json::get_string(*document, {"apiVersion"}) != "audit.k8s.io/v1")
    return fail(Status::bad_request("expected a Policy of audit.k8s.io/v1"));
  auto policy = std::make_shared<Policy>();
  auto omitted = read_stages(json::find(&*document, "omitStages"));
  if (!omitted) return fail(omitted.error());
  bool omit_fields = json::get_bool(*document, {"omitManagedFields"});
  for (const json::value& r : json::get_array(json::find(&*document, "rules"))) {
    std::string where = "rules[" + std::to_string(policy->rules_.size()) + "].";
    std::string level(json::get_string(r, {"level"}));
    auto known = std::ranges::find_if(kLevels, [&](const char* l) { return level == l; });
    if (known == std::end(kLevels)) return fail(Status::bad_request(where + "level: Unsupported value: \"" + level + "\": supported values: \"Metadata\", \"None\", \"Request\", \"RequestResponse\""));
    auto own = read_stages(json::find(&r, "omitStages"));
    if (!own) return fail(own.error().with_context(where));
    Rule rule{{static_cast<Level>(known - std::begin(kLevels)), *omitted | *own, json::get_bool(r, {"omitManagedFields"}, omit_fields)},
              strings(json::find(&r, "users")), strings(json::find(&r, "userGroups")), strings(json::find(&r, "verbs")), strings(json::find(&r, "namespaces")), strings(json::find(&r, "nonResourceURLs")), {}};
    for (const json::value& g : json::get_array(json::find(&r, "resources")))
      rule.resources.push_back({std::string(json::get_string(g, {"group"})), strings(json::find(&g, "resources")), strings(json::find(&g, "resourceNames"))});
    if (auto done = validate(rule, where); !done) return fail(done.error());
    if (!rule.urls.empty() && (!rule.resources.empty() || !rule.namespaces.empty()))
      return fail(Status::bad_request(where + "nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs"));
    policy->rules_.push_back(std::move(rule));
  }
  if (policy->rules_.empty()) return fail(Status::bad_request("loaded illegal policy with 0 rules"));
  return policy;
}

bool Policy::matches(const Rule& rule, const auth::Attributes& a) {
  if (!rule.users.empty() && !has(rule.users, a.user.name)) return false;
  if (!rule.groups.empty() && std::ranges::none_of(rule.groups, [&](const std::string& g) { return a.user.in_group(g); })) return false;
  if (!rule.verbs.empty() && !has(rule.verbs, a.verb)) return false;
  if (rule.namespaces.empty() && rule.resources.empty() && rule.urls.empty()) return true;
  if (!a.resource_request) return std::ranges::any_of(rule.urls, [&](const std::string& url) { return url_fits(url, a.path); });
  if (!rule.urls.empty()) return false;
  if (!rule.namespaces.empty() && !has(rule.namespaces, a.namespace_)) return false;
  if (rule.resources.empty()) return true;
  return std::ranges::any_of(rule.resources, [&](const Resources& r) {
    if (r.group != a.api_group && r.group != "*") return false;
    bool named = r.names.empty() || has(r.names, a.name);
    return r.resources.empty() || (named && std::ranges::any_of(r.resources, [&](const std::string& pattern) { return resource_fits(pattern, a); }));
  });
}

Decision Policy::decide(const auth::Attributes& a) const {
  for (const Rule& rule : rules_)
    if (matches(rule, a)) return rule.decision;
  return {};
}

}  // namespace kcube::apiserver::audit
