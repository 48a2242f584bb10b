#include "pkg/apiserver/flowcontrol/configuration.h"

#include <algorithm>

namespace kcube::flowcontrol {
namespace {

std::vector<std::string> texts(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(list)) out.emplace_back(json::get_string(&v));
  return out;
}

bool has(const std::vector<std::string>& list, std::string_view wanted) {
  return std::ranges::any_of(list, [&](const std::string& one) { return one == "*" || one == wanted; });
}

// "pods", "pods/log".
bool names_resource(const std::vector<std::string>& list, const auth::Attributes& request) {
  return std::ranges::any_of(list, [&](std::string_view one) {
    if (one == "*") return true;
    if (request.subresource.empty()) return one == request.resource;
    return one.size() == request.resource.size() + 1 + request.subresource.size() && one.starts_with(request.resource) &&
           one[request.resource.size()] == '/' && one.ends_with(request.subresource);
  });
}

constexpr std::string_view kServiceAccount = "system:serviceaccount:";
const std::string kOneFlow;

}  // namespace

PriorityLevelSpec PriorityLevelSpec::parse(const json::value& object) {
  PriorityLevelSpec level;
  level.name = json::get_string(object, {"metadata", "name"});
  level.uid = json::get_string(object, {"metadata", "uid"});
  level.exempt = json::get_string(object, {"spec", "type"}) == "Exempt";
  const json::value* part = json::at(&object, {"spec", level.exempt ? "exempt" : "limited"});
  level.nominal_shares = json::get_int(json::find(part, "nominalConcurrencyShares"), level.exempt ? 0 : 30);
  level.lendable_percent = json::get_int(json::find(part, "lendablePercent"));
  if (const json::value* limit = json::find(part, "borrowingLimitPercent"); limit != nullptr && !limit->is_null()) level.borrowing_limit_percent = json::get_int(limit);
  if (level.exempt || json::get_string(json::at(part, {"limitResponse", "type"})) != "Queue") return level;
  const json::value* queuing = json::at(part, {"limitResponse", "queuing"});
  level.queues = static_cast<int>(json::get_int(json::find(queuing, "queues"), 64));
  level.hand_size = static_cast<int>(json::get_int(json::find(queuing, "handSize"), 8));
  level.queue_length_limit = static_cast<int>(json::get_int(json::find(queuing, "queueLengthLimit"), 50));
  return level;
}

FlowSchema FlowSchema::parse(const json::value& object) {
  FlowSchema schema;
  schema.name = json::get_string(object, {"metadata", "name"});
  schema.uid = json::get_string(object, {"metadata", "uid"});
  schema.priority_level = json::get_string(object, {"spec", "priorityLevelConfiguration", "name"});
  schema.precedence = json::get_int(object, {"spec", "matchingPrecedence"}, 1000);
  std::string_view method = json::get_string(object, {"spec", "distinguisherMethod", "type"});
  if (method == "ByUser") schema.distinguisher_ = Distinguisher::by_user;
  if (method == "ByNamespace") schema.distinguisher_ = Distinguisher::by_namespace;
  for (const json::value& one : json::get_array(json::at(&object, {"spec", "rules"}))) {
    Rule rule;
    for (const json::value& subject : json::get_array(json::find(&one, "subjects"))) {
      std::string_view kind = json::get_string(subject, {"kind"});
      if (kind == "User") {
        std::string name(json::get_string(subject, {"user", "name"}));
        rule.subjects.push_back({Subject::Kind::user, name, name == "*"});
      } else if (kind == "Group") {
        std::string name(json::get_string(subject, {"group", "name"}));
        rule.subjects.push_back({Subject::Kind::group, name, name == "*"});
      } else if (kind == "ServiceAccount") {
        std::string_view name = json::get_string(subject, {"serviceAccount", "name"});
        std::string prefix = std::string(kServiceAccount) + std::string(json::get_string(subject, {"serviceAccount", "namespace"})) + ":";
        rule.subjects.push_back({Subject::Kind::service_account, name == "*" ? prefix : prefix + std::string(name), name == "*"});
      }
    }
    for (const json::value& r : json::get_array(json::find(&one, "resourceRules")))
      rule.resources.push_back({texts(json::find(&r, "verbs")), texts(json::find(&r, "apiGroups")), texts(json::find(&r, "resources")), texts(json::find(&r, "namespaces")), json::get_bool(r, {"clusterScope"})});
    for (const json::value& r : json::get_array(json::find(&one, "nonResourceRules")))
      rule.paths.push_back({texts(json::find(&r, "verbs")), texts(json::find(&r, "nonResourceURLs"))});
    schema.rules_.push_back(std::move(rule));
  }
  return schema;
}

bool FlowSchema::Subject::matches(const auth::User& user) const {
  switch (kind) {
    case Kind::user: return all || user.name == name;
    case Kind::group: return all || user.in_group(name);
    case Kind::service_account: return all ? user.name.starts_with(name) : user.name == name;
  }
  return false;
}

bool FlowSchema::ResourceRule::matches(const auth::Attributes& request) const {
  if (!has(verbs, request.verb) || !has(groups, request.api_group) || !names_resource(resources, request)) return false;
  return request.namespace_.empty() ? cluster_scope : has(namespaces, request.namespace_);
}

bool FlowSchema::PathRule::matches(const auth::Attributes& request) const {
  if (!has(verbs, request.verb)) return false;
  return std::ranges::any_of(paths, [&](std::string_view path) {
    if (path == "*" || path == request.path) return true;
    return path.ends_with("/*") && std::string_view(request.path).starts_with(path.substr(0, path.size() - 1));
  });
}

bool FlowSchema::matches(const auth::Attributes& request) const {
  for (const Rule& rule : rules_) {
    auto fits = [&](const auto& one) { return one.matches(request); };
    if (!std::ranges::any_of(rule.subjects, [&](const Subject& s) { return s.matches(request.user); })) continue;
    if (request.resource_request ? std::ranges::any_of(rule.resources, fits) : std::ranges::any_of(rule.paths, fits)) return true;
  }
  return false;
}

const std::string& FlowSchema::flow_of(const auth::Attributes& request) const {
  switch (distinguisher_) {
    case Distinguisher::by_user: return request.user.name;
    case Distinguisher::by_namespace: return request.namespace_;
    case Distinguisher::none: break;
  }
  return kOneFlow;
}

}  // namespace kcube::flowcontrol
