#include <gtest/gtest.h>
#include <stdlib.h>

#include "pkg/apiserver/security_options.h"
#include "pkg/base/file.h"

namespace kcube::apiserver {
namespace {

class SecurityFlags : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/kcube-flags-XXXXXX";
    directory_ = ::mkdtemp(path);
  }
  void TearDown() override { (void)file::remove_tree(directory_); }
  std::string with(const std::string& name, const std::string& text) {
    (void)file::write(directory_ + "/" + name, text);
    return directory_ + "/" + name;
  }
  static std::string problem(const ApiFlags& flags) {
    auto read = read_security_flags(flags);
    return read ? "" : read.error().message();
  }
  std::string directory_;
};

TEST_F(SecurityFlags, NoneLeaveEverythingAsItIs) {
  auto o = read_security_flags({});
  ASSERT_TRUE(o);
  EXPECT_TRUE(o->anonymous && o->tokens.empty() && o->authorizers.empty() && !o->audit_policy);
}

TEST_F(SecurityFlags, TokenFilesAreCsv) {
  auto o = read_security_flags({{"token-auth-file", {with("t", "# no\nt1,alice,1,\"a,b\"\n\n\"t\"\"2\",bob,2\r\n")}}});
  ASSERT_TRUE(o) << o.error().message();
  ASSERT_EQ(o->tokens.size(), 2U);
  EXPECT_EQ(o->tokens[0].user.groups, (std::vector<std::string>{"a", "b", "system:authenticated"}));
  EXPECT_EQ(o->tokens[1].token, "t\"2");
  EXPECT_EQ(problem({{"token-auth-file", {with("bad", "only,two\n")}}}), "--token-auth-file: record 1: token file must have at least 3 columns (token, user name, user uid), found 2");
  EXPECT_NE(problem({{"token-auth-file", {"/nonexistent"}}}).find("/nonexistent"), std::string::npos);
}

TEST_F(SecurityFlags, OidcPrefixesNamesByItsUrl) {
  auto o = read_security_flags({{"oidc-issuer-url", {"https://i"}}, {"oidc-client-id", {"c"}}, {"oidc-required-claim", {"a=b", "c=d"}}});
  ASSERT_TRUE(o) << o.error().message();
  EXPECT_EQ(o->jwt_issuers[0].username_prefix, "https://i#");
  EXPECT_EQ(o->jwt_issuers[0].required_claims.size(), 2U);
  EXPECT_EQ(read_security_flags({{"oidc-issuer-url", {"https://i"}}, {"oidc-client-id", {"c"}}, {"oidc-username-claim", {"email"}}})->jwt_issuers[0].username_prefix, "");
  EXPECT_EQ(read_security_flags({{"oidc-issuer-url", {"https://i"}}, {"oidc-client-id", {"c"}}, {"oidc-username-prefix", {"-"}}})->jwt_issuers[0].username_prefix, "");
  EXPECT_NE(problem({{"oidc-issuer-url", {"http://i"}}, {"oidc-client-id", {"c"}}}), "");
  EXPECT_NE(problem({{"oidc-issuer-url", {"https://i"}}}), "");
}

TEST_F(SecurityFlags, AuthenticationConfiguration) {
  std::string head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
  auto o = read_security_flags({{"authentication-config", {with("a", head + R"(
anonymous: {enabled: true, conditions: [{path: /healthz}]}
jwt:
- issuer: {url: "https://i", audiences: [x, y]}
  claimMappings: {username: {claim: sub, prefix: "p:"}, groups: {claim: g, prefix: ""}, uid: {claim: u}}
  claimValidationRules: [{claim: hd, requiredValue: example}]
)")}}});
  ASSERT_TRUE(o) << o.error().message();
  EXPECT_EQ(o->anonymous_paths, std::vector<std::string>{"/healthz"});
  EXPECT_EQ(o->jwt_issuers[0].audiences.size(), 2U);
  EXPECT_EQ(o->jwt_issuers[0].uid_claim, "u");
  auto computed = read_security_flags({{"authentication-config", {with("b", head + "jwt: [{issuer: {url: 'https://i', audiences: [a]}, claimMappings: {username: {expression: claims.sub}}}]")}}});
  ASSERT_TRUE(computed) << computed.error().message();
  EXPECT_TRUE(computed->jwt_issuers[0].expressions);
  EXPECT_NE(problem({{"authentication-config", {with("c", head + "jwt: [{issuer: {url: 'https://i', audiences: [a]}, claimMappings: {username: {expression: claims.sub, prefix: x}}}]")}}}), "");
}

TEST_F(SecurityFlags, AuthorizationModesMakeAChain) {
  std::string policy = with("p", "");
  auto o = read_security_flags({{"authorization-mode", {"Node,RBAC", "ABAC"}}, {"authorization-policy-file", {policy}}});
  ASSERT_TRUE(o) << o.error().message();
  ASSERT_EQ(o->authorizers.size(), 3U);
  EXPECT_TRUE(o->authorizers[2].abac);
  EXPECT_EQ(problem({{"authorization-mode", {"Magic"}}}), "--authorization-mode: \"Magic\" is not a valid mode");
  EXPECT_NE(problem({{"authorization-mode", {"RBAC,RBAC"}}}), "");
  EXPECT_NE(problem({{"authorization-mode", {"ABAC"}}}), "");
  EXPECT_NE(problem({{"authorization-policy-file", {policy}}}), "");
}

TEST_F(SecurityFlags, AuthorizationConfiguration) {
  std::string hook = with("hook", "clusters: [{name: c, cluster: {server: 'https://h'}}]\n");
  std::string head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: Node, name: node}\n";
  auto o = read_security_flags({{"authorization-config", {with("a", head + "- {type: Webhook, name: hook, webhook: {timeout: 3s, authorizedTTL: 1m30s, failurePolicy: Deny, subjectAccessReviewVersion: v1, connectionInfo: {type: KubeConfigFile, kubeConfigFile: " + hook + "}}}\n")}}});
  ASSERT_TRUE(o) << o.error().message();
  EXPECT_EQ(o->authorizers[1].authorized_ttl, std::chrono::seconds(90));
  EXPECT_EQ(o->authorizers[1].timeout, std::chrono::seconds(3));
  EXPECT_TRUE(o->authorizers[1].deny_on_failure);
  EXPECT_EQ(o->authorizers[1].webhook->url, "https://h");
  EXPECT_NE(problem({{"authorization-config", {with("b", head)}}, {"authorization-mode", {"RBAC"}}}), "");
  auto conditional = [&](const std::string& expression) {
    return head + "- {type: Webhook, name: hook, webhook: {failurePolicy: Deny, subjectAccessReviewVersion: v1, connectionInfo: {type: KubeConfigFile, kubeConfigFile: " + hook + "}, matchConditions: [{expression: '" + expression + "'}]}}\n";
  };
  auto c = read_security_flags({{"authorization-config", {with("c", conditional("request.user == \"a\""))}}});
  ASSERT_TRUE(c) << c.error().message();
  EXPECT_EQ(c->authorizers[1].conditions.size(), 1U);
  EXPECT_EQ(problem({{"authorization-config", {with("d", conditional("1"))}}}), "--authorization-config: authorizers[].webhook.matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool");
}

TEST_F(SecurityFlags, MistakesAreOneLine) {
  EXPECT_EQ(problem({{"no-such-flag", {"1"}}}), "unknown flag of the API server: --no-such-flag");
  EXPECT_EQ(problem({{"anonymous-auth", {"maybe"}}}), "--anonymous-auth: invalid argument \"maybe\": expected true or false");
  EXPECT_EQ(problem({{"audit-log-path", {"a"}}, {"audit-log-maxage", {"-1"}}}), "--audit-log-maxage: invalid argument \"-1\": expected a number");
  EXPECT_EQ(problem({{"authentication-token-webhook-config-file", {with("h", "{}")}}, {"authentication-token-webhook-cache-ttl", {"2m"}}}),
            "--authentication-token-webhook-config-file: " + directory_ + "/h: invalid configuration: no server found for a cluster");
}

TEST_F(SecurityFlags, LimitRequestsAtATime) {
  auto o = read_security_flags({{"max-requests-inflight", {"5"}}, {"max-mutating-requests-inflight", {"0"}}, {"profiling", {"true"}}});
  ASSERT_TRUE(o) << o.error().message();
  EXPECT_EQ(o->gateway.max_requests, 5);
  EXPECT_EQ(o->gateway.max_mutating_requests, 0);
  EXPECT_TRUE(o->gateway.priority_and_fairness && o->gateway.profiling && !o->gateway.logs);
  EXPECT_EQ(problem({{"max-requests-inflight", {"-1"}}}), "--max-requests-inflight: can not be negative value");
  EXPECT_EQ(problem({{"max-requests-inflight", {"0"}}, {"max-mutating-requests-inflight", {"0"}}}),
            "--max-requests-inflight: invalid configuration: MaxRequestsInFlight=0 and MaxMutatingRequestsInFlight=0; they must add up to something positive");
  EXPECT_EQ(problem({{"max-requests-inflight", {"0"}}, {"max-mutating-requests-inflight", {"0"}}, {"enable-priority-and-fairness", {"false"}}}), "");
}

}  // namespace
}  // namespace kcube::apiserver
