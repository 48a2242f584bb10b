#include "pkg/apiserver/authorization/abac.h"

#include <gtest/gtest.h>

namespace kcube::apiserver {
namespace {

std::string line(const std::string& spec) { return R"({"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":)" + spec + "}\n"; }

auth::Attributes get_pods(const std::string& user, const std::string& ns = "default") {
  auth::Attributes a;
  a.user = {user, "", {"devs", "system:authenticated"}, {}};
  a.verb = "get";
  a.namespace_ = ns;
  a.resource = "pods";
  return a;
}

TEST(Abac, AllowsWhatALineSays) {
  auto policy = AbacPolicy::parse("# comment\n\n" + line(R"({"user":"bob","namespace":"default","resource":"pods","readonly":true})"));
  ASSERT_TRUE(policy);
  auth::Attributes a = get_pods("bob");
  EXPECT_TRUE(policy->allows(a));
  a.verb = "delete";
  EXPECT_FALSE(policy->allows(a));
  EXPECT_FALSE(policy->allows(get_pods("eve")));
  EXPECT_FALSE(policy->allows(get_pods("bob", "other")));
}

TEST(Abac, StarIsEverybodyWhoIsKnown) {
  auto policy = AbacPolicy::parse(line(R"({"user":"*","nonResourcePath":"/version*"})") + line(R"({"group":"devs","namespace":"*","resource":"*","apiGroup":"*"})"));
  ASSERT_TRUE(policy);
  auth::Attributes a = get_pods("any");
  EXPECT_TRUE(policy->allows(a));
  a.resource_request = false;
  a.path = "/version/x";
  EXPECT_TRUE(policy->allows(a));
  a.user = {"system:anonymous", "", {"system:unauthenticated"}, {}};
  EXPECT_FALSE(policy->allows(a));
}

TEST(Abac, ALineForNobodyIsForNobody) {
  auto policy = AbacPolicy::parse(line(R"({"namespace":"*","resource":"*","apiGroup":"*"})"));
  ASSERT_TRUE(policy);
  EXPECT_FALSE(policy->allows(get_pods("bob")));
}

TEST(Abac, NamesTheLineThatIsWrong) {
  auto policy = AbacPolicy::parse(line("{}") + "nonsense\n");
  ASSERT_FALSE(policy);
  EXPECT_TRUE(policy.error().message().starts_with("line 2: ")) << policy.error().message();
  EXPECT_FALSE(AbacPolicy::parse(R"({"kind":"Policy","apiVersion":"v9"})"));
}

}  // namespace
}  // namespace kcube::apiserver
