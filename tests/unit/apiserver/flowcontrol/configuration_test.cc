#include "pkg/apiserver/flowcontrol/configuration.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "pkg/api/json.h"

namespace kcube::flowcontrol {
namespace {

auth::Attributes get(std::string user, std::vector<std::string> groups, std::string ns, std::string resource, std::string subresource = "") {
  auth::Attributes a;
  a.user = {std::move(user), "", std::move(groups), {}};
  a.verb = "get";
  a.namespace_ = std::move(ns);
  a.resource = std::move(resource);
  a.subresource = std::move(subresource);
  return a;
}

auth::Attributes get_path(std::string path) {
  auth::Attributes a;
  a.user = {"ann", "", {"system:authenticated"}, {}};
  a.verb = "get";
  a.resource_request = false;
  a.path = std::move(path);
  return a;
}

FlowSchema schema(std::string_view subjects, std::string_view rule) {
  auto object = json::parse(R"({"metadata":{"name":"s","uid":"u"},"spec":{"priorityLevelConfiguration":{"name":"p"},"matchingPrecedence":7,
    "distinguisherMethod":{"type":"ByUser"},"rules":[{"subjects":[)" + std::string(subjects) + "]," + std::string(rule) + "}]}}");
  return FlowSchema::parse(*object);
}

constexpr std::string_view kPodsInA = R"("resourceRules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods","pods/log"],"namespaces":["a"]}])";
constexpr std::string_view kAnn = R"({"kind":"User","user":{"name":"ann"}})";

TEST(FlowSchema, MatchesResourcesByVerbGroupResourceAndNamespace) {
  FlowSchema s = schema(kAnn, kPodsInA);
  EXPECT_TRUE(s.matches(get("ann", {}, "a", "pods")));
  EXPECT_TRUE(s.matches(get("ann", {}, "a", "pods", "log")));
  EXPECT_FALSE(s.matches(get("ann", {}, "a", "pods", "status")));
  EXPECT_FALSE(s.matches(get("ann", {}, "b", "pods")));
  EXPECT_FALSE(s.matches(get("ann", {}, "", "pods")));
  EXPECT_FALSE(s.matches(get("bob", {}, "a", "pods")));
  auth::Attributes listed = get("ann", {}, "a", "pods");
  listed.verb = "list";
  EXPECT_FALSE(s.matches(listed));
  EXPECT_FALSE(s.matches(get_path("/api")));
}

TEST(FlowSchema, ClusterScopeIsForRequestsWithoutANamespace) {
  FlowSchema s = schema(kAnn, R"("resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true}])");
  EXPECT_TRUE(s.matches(get("ann", {}, "", "nodes")));
  EXPECT_FALSE(s.matches(get("ann", {}, "a", "pods")));
}

TEST(FlowSchema, KnowsServiceAccountsByNamespaceAndName) {
  FlowSchema one = schema(R"({"kind":"ServiceAccount","serviceAccount":{"namespace":"kube-system","name":"dns"}})", kPodsInA);
  FlowSchema all = schema(R"({"kind":"ServiceAccount","serviceAccount":{"namespace":"kube-system","name":"*"}})", kPodsInA);
  EXPECT_TRUE(one.matches(get("system:serviceaccount:kube-system:dns", {}, "a", "pods")));
  EXPECT_FALSE(one.matches(get("system:serviceaccount:kube-system:other", {}, "a", "pods")));
  EXPECT_TRUE(all.matches(get("system:serviceaccount:kube-system:other", {}, "a", "pods")));
  EXPECT_FALSE(all.matches(get("system:serviceaccount:kube-systems:dns", {}, "a", "pods")));
}

TEST(FlowSchema, MatchesPathsWithASuffixWildcard) {
  FlowSchema s = schema(kAnn, R"("nonResourceRules":[{"verbs":["get"],"nonResourceURLs":["/healthz","/debug/*"]}])");
  EXPECT_TRUE(s.matches(get_path("/healthz")));
  EXPECT_FALSE(s.matches(get_path("/healthz/ping")));
  EXPECT_TRUE(s.matches(get_path("/debug/x/y")));
  EXPECT_FALSE(s.matches(get_path("/debug")));
}

TEST(BuiltinObjects, SortRequestsAsAFreshServerDoes) {
  std::vector<FlowSchema> schemas;
  for (const auto* list : {&mandatory_objects(), &suggested_objects()})
    for (const json::value& object : *list)
      if (json::get_string(object, {"kind"}) == "FlowSchema") schemas.push_back(FlowSchema::parse(object));
  std::ranges::sort(schemas, {}, &FlowSchema::precedence);
  auto level_of = [&](const auth::Attributes& a) { return std::ranges::find_if(schemas, [&](const FlowSchema& s) { return s.matches(a); })->priority_level; };
  EXPECT_EQ(schemas.size(), 11U);
  EXPECT_EQ(level_of(get("admin", {"system:masters", "system:authenticated"}, "a", "pods")), "exempt");
  EXPECT_EQ(level_of(get_path("/healthz")), "exempt");
  EXPECT_EQ(level_of(get_path("/metrics")), "global-default");
  EXPECT_EQ(level_of(get("system:node:n", {"system:nodes", "system:authenticated"}, "", "nodes", "status")), "node-high");
  EXPECT_EQ(level_of(get("system:node:n", {"system:nodes", "system:authenticated"}, "a", "pods")), "system");
  EXPECT_EQ(level_of(get("system:kube-scheduler", {"system:authenticated"}, "a", "pods")), "workload-high");
  auth::Attributes lease = get("system:kube-scheduler", {"system:authenticated"}, "kube-system", "leases");
  lease.api_group = "coordination.k8s.io";
  EXPECT_EQ(level_of(lease), "leader-election");
  EXPECT_EQ(level_of(get("system:serviceaccount:kube-system:x", {"system:serviceaccounts", "system:authenticated"}, "a", "pods")), "workload-high");
  EXPECT_EQ(level_of(get("system:serviceaccount:a:x", {"system:serviceaccounts", "system:authenticated"}, "a", "pods")), "workload-low");
  EXPECT_EQ(level_of(get("ann", {"system:authenticated"}, "a", "pods")), "global-default");
}

}  // namespace
}  // namespace kcube::flowcontrol
