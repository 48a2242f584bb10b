// The configuration that every server begins with. Source: the FlowSchemas and PriorityLevelConfigurations that a fresh
// kube-apiserver 1.36 stores.
#include "pkg/apiserver/flowcontrol/configuration.h"
#include "pkg/base/strings.h"

namespace kcube::flowcontrol {
namespace {

struct Level {
  const char* name;
  int shares, lendable, queues, hand, length;   // no queues: refuse
};
constexpr Level kSuggestedLevels[] = {
    {"system", 30, 33, 64, 6, 50},          {"node-high", 40, 25, 64, 6, 50},     {"leader-election", 10, 0, 16, 4, 50},
    {"workload-high", 40, 50, 128, 6, 50},  {"workload-low", 100, 90, 128, 6, 50}, {"global-default", 20, 50, 128, 6, 50},
};
constexpr Level kCatchAll = {"catch-all", 5, 0, 0, 0, 0};

// What a rule is about: "*" everything, or lists with commas; empty: not about such requests.
struct Resources {
  const char *verbs, *groups, *resources;
  bool cluster_scope;
};
struct Schema {
  const char *name, *level;
  int precedence;
  const char* distinguisher;
  const char* subjects;                    // "user NAME", "group NAME", "serviceaccount NAMESPACE"; commas between
  std::vector<Resources> resources;
  const char* paths;
  const char* path_verbs;
};

constexpr const char* kEverybody = "group system:unauthenticated,group system:authenticated";
const Resources kAll{"*", "*", "*", true};

const std::vector<Schema>& mandatory_schemas() {
  static const std::vector<Schema> schemas = {
      {"exempt", "exempt", 1, "", "group system:masters", {kAll}, "*", "*"},
      {"catch-all", "catch-all", 10000, "ByUser", kEverybody, {kAll}, "*", "*"},
  };
  return schemas;
}

const std::vector<Schema>& suggested_schemas() {
  static const std::vector<Schema> schemas = {
      {"probes", "exempt", 2, "", kEverybody, {}, "/healthz,/readyz,/livez", "get"},
      {"system-leader-election", "leader-election", 100, "ByUser", "user system:kube-controller-manager,user system:kube-scheduler,serviceaccount kube-system",
       {{"get,create,update", "coordination.k8s.io", "leases", false}}, "", ""},
      {"system-node-high", "node-high", 400, "ByUser", "group system:nodes", {{"*", "", "nodes,nodes/status", true}, {"*", "coordination.k8s.io", "leases", false}}, "", ""},
      {"system-nodes", "system", 500, "ByUser", "group system:nodes", {kAll}, "*", "*"},
      {"kube-controller-manager", "workload-high", 800, "ByNamespace", "user system:kube-controller-manager", {kAll}, "*", "*"},
      {"kube-scheduler", "workload-high", 800, "ByNamespace", "user system:kube-scheduler", {kAll}, "*", "*"},
      {"kube-system-service-accounts", "workload-high", 900, "ByNamespace", "serviceaccount kube-system", {kAll}, "*", "*"},
      {"service-accounts", "workload-low", 9000, "ByUser", "group system:serviceaccounts", {kAll}, "*", "*"},
      {"global-default", "global-default", 9900, "ByUser", kEverybody, {kAll}, "*", "*"},
  };
  return schemas;
}

json::array list(std::string_view commas) {
  json::array out;
  for (std::string_view one : split(commas, ',')) out.push_back(json::value(json::key(one)));
  return out;
}

json::object head(const char* kind, const char* name) {
  json::object metadata{{"name", name}, {"annotations", json::object{{"apf.kubernetes.io/autoupdate-spec", "true"}}}};
  return {{"apiVersion", "flowcontrol.apiserver.k8s.io/v1"}, {"kind", kind}, {"metadata", std::move(metadata)}};
}

json::value level_object(const Level& level) {
  json::object response{{"type", level.queues == 0 ? "Reject" : "Queue"}};
  if (level.queues > 0) response["queuing"] = json::object{{"queues", level.queues}, {"handSize", level.hand}, {"queueLengthLimit", level.length}};
  json::object limited{{"nominalConcurrencyShares", level.shares}, {"limitResponse", std::move(response)}, {"lendablePercent", level.lendable}};
  json::object object = head("PriorityLevelConfiguration", level.name);
  object["spec"] = json::object{{"type", "Limited"}, {"limited", std::move(limited)}};
  return object;
}

json::value exempt_object() {
  json::object object = head("PriorityLevelConfiguration", "exempt");
  object["spec"] = json::object{{"type", "Exempt"}, {"exempt", json::object{{"nominalConcurrencyShares", 0}, {"lendablePercent", 0}}}};
  return object;
}

json::value subject_object(std::string_view text) {
  size_t space = text.find(' ');
  std::string_view kind = text.substr(0, space), name = text.substr(space + 1);
  if (kind == "user") return json::object{{"kind", "User"}, {"user", json::object{{"name", json::key(name)}}}};
  if (kind == "group") return json::object{{"kind", "Group"}, {"group", json::object{{"name", json::key(name)}}}};
  return json::object{{"kind", "ServiceAccount"}, {"serviceAccount", json::object{{"namespace", json::key(name)}, {"name", "*"}}}};
}

json::value schema_object(const Schema& schema) {
  json::object rule;
  for (std::string_view subject : split(std::string_view(schema.subjects), ',')) json::ensure_array(rule, "subjects").push_back(subject_object(subject));
  for (const Resources& r : schema.resources) {
    json::object one{{"verbs", list(r.verbs)}, {"apiGroups", *r.groups == 0 ? json::array{json::value("")} : list(r.groups)}, {"resources", list(r.resources)}};
    if (r.cluster_scope) one["clusterScope"] = true;
    one["namespaces"] = list("*");
    json::ensure_array(rule, "resourceRules").push_back(std::move(one));
  }
  if (*schema.paths != 0) rule["nonResourceRules"] = json::array{json::object{{"verbs", list(schema.path_verbs)}, {"nonResourceURLs", list(schema.paths)}}};
  json::object spec{{"priorityLevelConfiguration", json::object{{"name", schema.level}}}, {"matchingPrecedence", schema.precedence}};
  if (*schema.distinguisher != 0) spec["distinguisherMethod"] = json::object{{"type", schema.distinguisher}};
  spec["rules"] = json::array{json::value(std::move(rule))};
  json::object object = head("FlowSchema", schema.name);
  object["spec"] = std::move(spec);
  return object;
}

}  // namespace

const std::vector<json::value>& mandatory_objects() {
  static const std::vector<json::value> objects = [] {
    std::vector<json::value> all{exempt_object(), level_object(kCatchAll)};
    for (const Schema& schema : mandatory_schemas()) all.push_back(schema_object(schema));
    return all;
  }();
  return objects;
}

const std::vector<json::value>& suggested_objects() {
  static const std::vector<json::value> objects = [] {
    std::vector<json::value> all;
    for (const Level& level : kSuggestedLevels) all.push_back(level_object(level));
    for (const Schema& schema : suggested_schemas()) all.push_back(schema_object(schema));
    return all;
  }();
  return objects;
}

}  // namespace kcube::flowcontrol
