#include <gtest/gtest.h>

#include "pkg/auth/auth.h"

namespace kcube::auth {
namespace {

Attributes wants(std::string verb, std::string group, std::string resource, std::string subresource = "",
                 std::string name = "") {
  Attributes a;
  a.verb = std::move(verb);
  a.api_group = std::move(group);
  a.resource = std::move(resource);
  a.subresource = std::move(subresource);
  a.name = std::move(name);
  return a;
}

Attributes wants_path(std::string verb, std::string path) {
  Attributes a;
  a.resource_request = false;
  a.verb = std::move(verb);
  a.path = std::move(path);
  return a;
}

TEST(RuleAllows, MatchesVerbGroupResourceAndName) {
  PolicyRule rule{{"get", "list"}, {""}, {"pods", "*/status"}, {}, {}};
  EXPECT_TRUE(rule_allows(rule, wants("get", "", "pods")));
  EXPECT_FALSE(rule_allows(rule, wants("delete", "", "pods")));
  EXPECT_FALSE(rule_allows(rule, wants("get", "apps", "pods")));
  EXPECT_FALSE(rule_allows(rule, wants("get", "", "pods", "log")));
  EXPECT_TRUE(rule_allows(rule, wants("get", "", "nodes", "status")));
  EXPECT_FALSE(rule_allows(rule, wants("get", "", "nodes")));
  EXPECT_FALSE(rule_allows(rule, wants_path("get", "/healthz")));
  PolicyRule named{{"*"}, {"*"}, {"*"}, {"a"}, {}};
  EXPECT_TRUE(rule_allows(named, wants("update", "apps", "deployments", "scale", "a")));
  EXPECT_FALSE(rule_allows(named, wants("list", "apps", "deployments")));
}

TEST(RuleAllows, MatchesPaths) {
  PolicyRule rule{{"get"}, {}, {}, {}, {"/healthz", "/api/*"}};
  EXPECT_TRUE(rule_allows(rule, wants_path("get", "/healthz")));
  EXPECT_FALSE(rule_allows(rule, wants_path("get", "/healthz/x")));
  EXPECT_TRUE(rule_allows(rule, wants_path("get", "/api/v1")));
  EXPECT_FALSE(rule_allows(rule, wants_path("get", "/api")));
  EXPECT_FALSE(rule_allows(rule, wants("get", "", "pods")));
  EXPECT_TRUE(rule_allows({{"*"}, {}, {}, {}, {"*"}}, wants_path("post", "/x")));
}

TEST(RulesCover, SumsOverTheOwnersRules) {
  std::vector<PolicyRule> owner{{{"get"}, {""}, {"pods"}, {}, {}}, {{"list"}, {""}, {"pods"}, {}, {}}};
  EXPECT_TRUE(rules_cover(owner, {{{"get", "list"}, {""}, {"pods"}, {}, {}}}, nullptr));
  std::vector<PolicyRule> missing;
  EXPECT_FALSE(rules_cover(owner, {{{"get", "watch"}, {""}, {"pods"}, {}, {}}}, &missing));
  ASSERT_EQ(missing.size(), 1u);
  EXPECT_EQ(missing[0].verbs, std::vector<std::string>{"watch"});
}

TEST(RulesCover, NamesAndWildcardsDoNotWiden) {
  std::vector<PolicyRule> named{{{"get"}, {""}, {"secrets"}, {"a"}, {}}};
  EXPECT_TRUE(rules_cover(named, {{{"get"}, {""}, {"secrets"}, {"a"}, {}}}, nullptr));
  EXPECT_FALSE(rules_cover(named, {{{"get"}, {""}, {"secrets"}, {}, {}}}, nullptr));
  EXPECT_FALSE(rules_cover(named, {{{"*"}, {""}, {"secrets"}, {"a"}, {}}}, nullptr));
  std::vector<PolicyRule> status{{{"*"}, {"*"}, {"*/status"}, {}, {"/api/*"}}};
  EXPECT_TRUE(rules_cover(status, {{{"get"}, {"apps"}, {"deployments/status"}, {}, {"/api/v1", "/api/*"}}}, nullptr));
  EXPECT_FALSE(rules_cover(status, {{{"get"}, {"apps"}, {"deployments"}, {}, {}}}, nullptr));
  EXPECT_FALSE(rules_cover(status, {{{"get"}, {}, {}, {}, {"*"}}}, nullptr));
}

}  // namespace
}  // namespace kcube::auth
