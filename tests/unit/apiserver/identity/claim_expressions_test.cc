// What expressions make of a token's claims.
#include "pkg/apiserver/authentication/claim_expressions.h"

#include <gtest/gtest.h>

#include "pkg/api/yaml.h"

namespace kcube::apiserver {
namespace {

Result<std::shared_ptr<const ClaimExpressions>> read(const std::string& yaml) {
  auto parsed = api::parse_yaml(yaml);
  KCUBE_CHECK(parsed.has_value());
  return read_claim_expressions(*parsed);
}

std::string problem(const std::string& yaml) {
  auto made = read(yaml);
  return made ? "" : made.error().message();
}

json::value claims() {
  return *json::parse(R"({"sub":"1","email":"a@example.com","email_verified":true,"roles":["x","y"],"tenant":"t","level":3})");
}

TEST(ClaimExpressions, MapClaimsToAUser) {
  auto e = read(R"(
claimMappings:
  username: {expression: 'claims.email_verified ? claims.email : "none:" + claims.sub'}
  groups: {expression: 'claims.roles.map(r, "idp:" + r)'}
  uid: {expression: claims.sub}
  extra: [{key: example.com/tenant, valueExpression: claims.tenant}, {key: example.com/none, valueExpression: '""'}]
claimValidationRules: [{expression: 'claims.level >= 3', message: too low}, {claim: hd, requiredValue: here}]
userValidationRules: [{expression: '!user.username.startsWith("system:")', message: reserved}]
)");
  ASSERT_TRUE(e) << e.error().message();
  auth::User user;
  auto done = map_claims(**e, claims(), user);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(user.name, "a@example.com");
  EXPECT_EQ(user.uid, "1");
  EXPECT_EQ(user.groups, (std::vector<std::string>{"idp:x", "idp:y"}));
  ASSERT_EQ(user.extra.size(), 1U);
  EXPECT_EQ(user.extra.at("example.com/tenant"), std::vector<std::string>{"t"});
  EXPECT_TRUE(check_user(**e, user));
  user.name = "system:admin";
  EXPECT_EQ(check_user(**e, user).error().message(), "error evaluating user info validation rule: validation expression '!user.username.startsWith(\"system:\")' failed: reserved");
}

TEST(ClaimExpressions, ARuleThatDoesNotHoldRefuses) {
  auto e = read("claimValidationRules: [{expression: 'claims.level > 3', message: too low}]");
  ASSERT_TRUE(e);
  auth::User user;
  EXPECT_EQ(map_claims(**e, claims(), user).error().message(), "error evaluating claim validation rule: validation expression 'claims.level > 3' failed: too low");
  auto absent = read("claimMappings: {groups: {expression: claims.none}}");
  ASSERT_TRUE(absent);
  EXPECT_EQ(map_claims(**absent, claims(), user).error().message(), "error evaluating groups claim expression: no such key: none");
}

TEST(ClaimExpressions, NothingIsMadeOfNamesAlone) {
  auto e = read("claimMappings: {username: {claim: sub, prefix: ''}}\nclaimValidationRules: [{claim: hd, requiredValue: here}]");
  ASSERT_TRUE(e);
  EXPECT_EQ(*e, nullptr);
}

TEST(ClaimExpressions, MistakesNameTheirField) {
  EXPECT_EQ(problem("claimMappings: {username: {expression: '1'}}"), "jwt[].claimMappings.username.expression: Invalid value: \"1\": must evaluate to string");
  EXPECT_NE(problem("claimMappings: {groups: {expression: 'claims.('}}").find("jwt[].claimMappings.groups.expression: Invalid value: \"claims.(\": compilation failed: "), std::string::npos);
  EXPECT_NE(problem("claimMappings: {username: {expression: claims.email}}").find("claims.email_verified must be used"), std::string::npos);
  EXPECT_EQ(problem("claimMappings: {username: {expression: claims.email_alias}}"), "");
  EXPECT_NE(problem("claimMappings: {extra: [{key: plain, valueExpression: '\"\"'}]}").find("must be a domain-prefixed path"), std::string::npos);
  EXPECT_NE(problem("claimMappings: {extra: [{key: x.k8s.io/a, valueExpression: '\"\"'}]}").find("reserved for Kubernetes"), std::string::npos);
  EXPECT_NE(problem("userValidationRules: [{expression: 'user.username'}, {expression: '\"x\"'}]").find("jwt[].userValidationRules[1].expression: Invalid value: \"\\\"x\\\"\": must evaluate to bool"), std::string::npos);
}

}  // namespace
}  // namespace kcube::apiserver
