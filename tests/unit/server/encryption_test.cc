#include "pkg/server/encryption.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace kcube::server {
namespace {

const std::string kHead = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n";
const std::string kKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

Result<Encryption> parse(const std::string& text) {
  static SimulatedClock clock;
  return parse_encryption(text, clock);
}

std::string problem(const std::string& resources) {
  auto rules = parse(kHead + resources);
  return rules ? "" : rules.error().message();
}

TEST(EncryptionConfiguration, NamesResourcesAndKeysInOrder) {
  auto rules = parse(kHead + "- resources: [secrets, deployments.apps, '*.batch']\n  providers:\n  - aesgcm: {keys: [{name: new, secret: " + kKey + "}, {name: old, secret: " + kKey + "}]}\n  - identity: {}\n");
  ASSERT_TRUE(rules) << rules.error().message();
  ASSERT_EQ(rules->rules.size(), 3U);
  EXPECT_EQ(rules->rules.at(0).prefix, "/registry/secrets/");
  EXPECT_EQ(rules->rules.at(1).prefix, "/registry/apps/deployments/");
  EXPECT_EQ(rules->rules.at(2).prefix, "/registry/batch/");
  ASSERT_EQ(rules->rules.at(0).sealers.size(), 3U);
  EXPECT_EQ(rules->rules.at(0).sealers[0]->prefix(), "k8s:enc:aesgcm:v1:new:");
  EXPECT_EQ(rules->rules.at(0).sealers[1]->prefix(), "k8s:enc:aesgcm:v1:old:");
}

TEST(EncryptionConfiguration, WildcardsAreTheCoreGroupOrAll) {
  auto core = parse(kHead + "- {resources: ['*.'], providers: [{identity: {}}]}\n");
  ASSERT_TRUE(core);
  EXPECT_TRUE(std::ranges::any_of(core->rules, [](const auto& r) { return r.prefix == "/registry/configmaps/"; }));
  EXPECT_FALSE(std::ranges::any_of(core->rules, [](const auto& r) { return r.prefix.find("apps") != std::string::npos; }));
  EXPECT_EQ(parse(kHead + "- {resources: ['*.*'], providers: [{identity: {}}]}\n")->rules.at(0).prefix, "/registry/");
}

TEST(EncryptionConfiguration, SaysWhereAMistakeIs) {
  EXPECT_EQ(problem("- {resources: [secrets], providers: [{aesgcm: {keys: [{name: a, secret: c2hvcnQ=}]}}]}\n"),
            "resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 5, expected one of [16 24 32]");
  EXPECT_EQ(problem("- {resources: [secrets], providers: [{rot13: {}}]}\n").find("resources[0].providers[0]: unknown field \"rot13\""), 0U);
  EXPECT_NE(problem("- {resources: ['*'], providers: [{identity: {}}]}\n"), "");
  EXPECT_NE(problem("- {resources: [secrets], providers: []}\n"), "");
  EXPECT_NE(problem("[]\n"), "");
  EXPECT_FALSE(parse("kind: Other"));
}

}  // namespace
}  // namespace kcube::server
