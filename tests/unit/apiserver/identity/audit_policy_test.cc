#include <gtest/gtest.h>

#include "pkg/apiserver/audit/policy.h"

namespace kcube::apiserver::audit {
namespace {

std::shared_ptr<const Policy> policy(const std::string& rules, const std::string& more = "") {
  auto parsed = Policy::parse("apiVersion: audit.k8s.io/v1\nkind: Policy\n" + more + "rules:\n" + rules);
  EXPECT_TRUE(parsed) << parsed.error().message();
  return parsed ? *parsed : nullptr;
}

auth::Attributes request(const std::string& verb, const std::string& group, const std::string& resource, const std::string& sub = "", const std::string& ns = "default", const std::string& name = "x") {
  auth::Attributes a;
  a.user = {"jane", "", {"team"}, {}};
  a.verb = verb;
  a.api_group = group;
  a.resource = resource;
  a.subresource = sub;
  a.namespace_ = ns;
  a.name = name;
  return a;
}

TEST(AuditPolicy, TheFirstRuleThatFitsHolds) {
  auto p = policy("- {level: None, users: [jane], verbs: [get]}\n- {level: Request, userGroups: [team]}\n- {level: Metadata}\n");
  EXPECT_EQ(p->decide(request("get", "", "pods")).level, Level::none);
  EXPECT_EQ(p->decide(request("list", "", "pods")).level, Level::request);
  auth::Attributes other = request("list", "", "pods");
  other.user = {"joe", "", {}, {}};
  EXPECT_EQ(p->decide(other).level, Level::metadata);
}

TEST(AuditPolicy, WithoutAFittingRuleNothingIsRecorded) {
  EXPECT_EQ(policy("- {level: Metadata, users: [joe]}\n")->decide(request("get", "", "pods")).level, Level::none);
}

TEST(AuditPolicy, ResourcesHaveGroupsSubresourcesAndNames) {
  auto fits = [](const std::string& resources, const auth::Attributes& a) { return policy("- level: Metadata\n  resources: [" + resources + "]\n")->decide(a).level == Level::metadata; };
  EXPECT_TRUE(fits("{group: ''}", request("get", "", "pods")));
  EXPECT_FALSE(fits("{group: apps}", request("get", "", "pods")));
  EXPECT_TRUE(fits("{group: '', resources: [pods]}", request("get", "", "pods")));
  EXPECT_FALSE(fits("{group: '', resources: [pods]}", request("get", "", "pods", "log")));
  EXPECT_TRUE(fits("{group: '', resources: [pods/log]}", request("get", "", "pods", "log")));
  EXPECT_TRUE(fits("{group: '', resources: ['pods/*']}", request("get", "", "pods", "log")));
  EXPECT_TRUE(fits("{group: '', resources: ['pods/*']}", request("get", "", "pods")));
  EXPECT_FALSE(fits("{group: '', resources: ['*/log']}", request("get", "", "pods")));
  EXPECT_TRUE(fits("{group: '*', resources: [deployments]}", request("get", "apps", "deployments")));
  EXPECT_TRUE(fits("{group: '', resources: ['*/log']}", request("get", "", "pods", "log")));
  EXPECT_TRUE(fits("{group: '', resources: ['*']}", request("get", "", "pods", "log")));
  EXPECT_TRUE(fits("{group: '', resources: [pods], resourceNames: [x]}", request("get", "", "pods")));
  EXPECT_FALSE(fits("{group: '', resources: [pods], resourceNames: [y]}", request("get", "", "pods")));
}

TEST(AuditPolicy, SaysWhatIsWrongWithARule) {
  auto problem = [](const std::string& rule) {
    auto parsed = Policy::parse("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, " + rule + "}]\n");
    return parsed ? "" : parsed.error().message();
  };
  EXPECT_EQ(problem("nonResourceURLs: [healthz]"), "rules[0].nonResourceURLs[0]: Invalid value: \"healthz\": non-resource URL rules must begin with a '/' character");
  EXPECT_EQ(problem("nonResourceURLs: ['/a*b']"), "rules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final character of the rule");
  EXPECT_EQ(problem("resources: [{group: '', resourceNames: [x]}]"), "rules[0].resources.resourceNames: Invalid value: using resourceNames requires at least one resource");
  EXPECT_EQ(problem("resources: [{group: 'rbac.authorization.k8s.io/v1'}]").find("rules[0].resources.group: Invalid value: \"rbac.authorization.k8s.io/v1\": "), 0U);
}

TEST(AuditPolicy, StagesAreLeftOutByPolicyAndRuleTogether) {
  auto p = policy("- {level: Metadata, users: [jane], omitStages: [ResponseStarted], omitManagedFields: false}\n- {level: Metadata}\n", "omitStages: [RequestReceived]\nomitManagedFields: true\n");
  Decision jane = p->decide(request("get", "", "pods"));
  EXPECT_FALSE(jane.records(Stage::request_received));
  EXPECT_FALSE(jane.records(Stage::response_started));
  EXPECT_TRUE(jane.records(Stage::response_complete));
  EXPECT_FALSE(jane.omit_managed_fields);
  auth::Attributes other = request("get", "", "pods");
  other.user = {"joe", "", {}, {}};
  EXPECT_TRUE(p->decide(other).records(Stage::response_started));
  EXPECT_TRUE(p->decide(other).omit_managed_fields);
}

TEST(AuditPolicy, NamespacesAndUrls) {
  auto p = policy("- {level: Metadata, namespaces: [kube-system, '']}\n- {level: Request, nonResourceURLs: ['/healthz*', /version]}\n");
  EXPECT_EQ(p->decide(request("get", "", "pods", "", "kube-system")).level, Level::metadata);
  EXPECT_EQ(p->decide(request("get", "", "nodes", "", "")).level, Level::metadata);
  EXPECT_EQ(p->decide(request("get", "", "pods")).level, Level::none);
  auth::Attributes a;
  a.resource_request = false;
  a.path = "/healthz/ping";
  EXPECT_EQ(p->decide(a).level, Level::request);
  a.path = "/versions";
  EXPECT_EQ(p->decide(a).level, Level::none);
}

TEST(AuditPolicy, StagesAreOmittedByPolicyAndRule) {
  auto p = policy("- {level: Metadata, omitStages: [ResponseStarted]}\n", "omitStages: [RequestReceived]\nomitManagedFields: true\n");
  Decision d = p->decide(request("get", "", "pods"));
  EXPECT_FALSE(d.records(Stage::request_received));
  EXPECT_FALSE(d.records(Stage::response_started));
  EXPECT_TRUE(d.records(Stage::response_complete));
  EXPECT_TRUE(d.omit_managed_fields);
}

TEST(AuditPolicy, MistakesAreRefused) {
  for (const char* text : {"", "kind: Policy", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Loud}]",
                           "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, omitStages: [Never]}]", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, namespaces: [a], nonResourceURLs: [/b]}]", "{"})
    EXPECT_FALSE(Policy::parse(text)) << text;
}

}  // namespace
}  // namespace kcube::apiserver::audit
