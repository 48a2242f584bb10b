// Values sealed by a KMS plugin, through the store.
#include <gtest/gtest.h>
#include <stdlib.h>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "pkg/server/encryption.h"
#include "tests/unit/server/kms_double.h"

namespace kcube::server {
namespace {

const std::string kSecret = "/registry/secrets/a/b", kPrefix = "k8s:enc:kms:v2:outside:";

class Kms : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/kcube-kms-XXXXXX";
    directory_ = ::mkdtemp(path);
    plugin_ = std::make_unique<KmsDouble>(socket());
  }
  void TearDown() override {
    store_.reset();
    provider_.reset();
    plugin_.reset();
    (void)file::remove_tree(directory_);
  }
  std::string socket() const { return directory_ + "/kms.sock"; }
  std::string config(const std::string& more = "") const {
    return "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: outside, endpoint: 'unix://" + socket() + "', timeout: 2s" + more +
           "}\n  - identity: {}\n";
  }
  // As a server that starts: nothing is known but the configuration and the database.
  void open() {
    auto read = parse_encryption(config(), clock_);
    ASSERT_TRUE(read) << read.error().message();
    provider_ = read->kms.at(0);
    store_.reset();
    auto inner = store::open_sqlite({.path = directory_ + "/state.db"});
    ASSERT_TRUE(inner);
    inner_ = inner->get();
    store_ = std::make_unique<store::EncryptedStore>(std::move(*inner), std::move(read->rules));
  }
  Result<uint64_t> put(const std::string& value, uint64_t expected = 0) { return store_->commit({kSecret, expected, false, std::make_shared<const std::string>(value)}); }
  std::string raw() { return *inner_->range(kSecret, kSecret, 1, 0)->items.at(0).value; }
  std::string read() {
    auto found = store_->range(kSecret, kSecret, 1, 0);
    return found ? *found->items.at(0).value : "failed: " + found.error().message();
  }
  std::string health() {
    auto well = provider_->check();
    return well ? "" : well.error().message();
  }

  SimulatedClock clock_;
  std::string directory_;
  std::unique_ptr<KmsDouble> plugin_;
  std::shared_ptr<KmsProvider> provider_;
  store::Store* inner_ = nullptr;
  std::unique_ptr<store::EncryptedStore> store_;
};

TEST_F(Kms, WhatIsWrittenIsReadAgainAfterARestart) {
  open();
  ASSERT_EQ(health(), "");
  ASSERT_TRUE(put("hidden"));
  EXPECT_TRUE(raw().starts_with(kPrefix));
  EXPECT_EQ(raw().find("hidden"), std::string::npos);
  auto sealed = auth::parse_kms_sealed(std::string_view(raw()).substr(kPrefix.size()));
  ASSERT_TRUE(sealed);
  EXPECT_EQ(sealed->key_id, "key-1");
  EXPECT_EQ(sealed->source_type, auth::kKmsSeed);
  EXPECT_EQ(sealed->annotations.at("plugin.example.com"), "a note");
  EXPECT_EQ(read(), "hidden");
  EXPECT_EQ(plugin_->decrypts, 0);
  open();
  EXPECT_EQ(read(), "hidden");
  EXPECT_EQ(read(), "hidden");
  EXPECT_EQ(plugin_->decrypts, 1);
}

TEST_F(Kms, OneSealServesManyWrites) {
  open();
  ASSERT_EQ(health(), "");
  uint64_t revision = 0;
  for (int i = 0; i < 20; ++i) revision = put("value " + std::to_string(i), revision).value_or(0);
  EXPECT_EQ(plugin_->encrypts, 1);
  EXPECT_EQ(read(), "value 19");
}

TEST_F(Kms, ANewKeyMakesANewSeedAndOldValuesStale) {
  open();
  ASSERT_EQ(health(), "");
  uint64_t revision = *put("first");
  EXPECT_FALSE(store_->is_stale(kSecret));
  plugin_->turn("key-2");
  EXPECT_EQ(health(), "");
  EXPECT_FALSE(store_->is_stale(kSecret)) << "what it said is believed for a moment";
  clock_.advance(std::chrono::seconds(21));
  EXPECT_EQ(health(), "");
  EXPECT_TRUE(store_->is_stale(kSecret));
  EXPECT_EQ(read(), "first");
  ASSERT_TRUE(put("second", revision));
  EXPECT_FALSE(store_->is_stale(kSecret));
  EXPECT_EQ(auth::parse_kms_sealed(std::string_view(raw()).substr(kPrefix.size()))->key_id, "key-2");
}

TEST_F(Kms, WritesGoOnForThreeMinutesWithoutThePlugin) {
  open();
  ASSERT_EQ(health(), "");
  plugin_->stop();
  clock_.advance(std::chrono::seconds(170));
  EXPECT_NE(health().find("failed to perform status section of the healthz check for KMS Provider outside, error: rpc error: code = Unavailable desc = "), std::string::npos) << health();
  auto revision = put("in time");
  ASSERT_TRUE(revision);
  clock_.advance(std::chrono::seconds(20));
  auto late = put("late", *revision);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), 500);
  EXPECT_NE(late.error().message().find("encryptedDEKSource with keyID hash \"sha256:"), std::string::npos) << late.error().message();
  EXPECT_EQ(read(), "in time");
  plugin_->start();
  EXPECT_EQ(health(), "");
  EXPECT_TRUE(put("late", *revision));
}

TEST_F(Kms, SaysWhatIsWrong) {
  open();
  auto refused = put("too early");
  ASSERT_FALSE(refused);
  plugin_->say("on fire");
  EXPECT_EQ(health(), "kmsv2 Provider outside is not healthy, error: got unexpected healthz status: on fire");
  clock_.advance(std::chrono::seconds(4));
  plugin_->say("ok");
  plugin_->turn("");
  EXPECT_EQ(health(), "kmsv2 Provider outside is not healthy, error: got invalid KMSv2 KeyID hash \"\": keyID is empty");
  clock_.advance(std::chrono::seconds(4));
  plugin_->grpc_status = 7;
  EXPECT_EQ(health(), "failed to perform status section of the healthz check for KMS Provider outside, error: rpc error: code = PermissionDenied desc = as the test wants");
}

TEST_F(Kms, ReadsFailWhenThePluginDoes) {
  open();
  ASSERT_EQ(health(), "");
  ASSERT_TRUE(put("hidden"));
  open();
  plugin_->grpc_status = 13;
  EXPECT_NE(read().find("failed to decrypt DEK, error: rpc error: code = Internal desc = as the test wants"), std::string::npos) << read();
  plugin_->grpc_status = 0;
  EXPECT_EQ(read(), "hidden");
}

TEST_F(Kms, AChangedFileIsUsedWhenItsPluginIsWell) {
  std::string path = directory_ + "/encryption.yaml", identity = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{resources: [secrets], providers: [{identity: {}}]}]\n";
  ASSERT_TRUE(file::write_atomic(path, identity, 0600));
  open();
  store_->set_rules(parse_encryption(identity, clock_)->rules);
  KmsHealth health;
  auto watcher = EncryptionWatcher::start(path, *store_, health, clock_);
  ASSERT_TRUE(watcher);
  plugin_->say("not yet");
  ASSERT_TRUE(file::write_atomic(path, config(), 0600));
  auto until = [](auto&& holds) {
    for (auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20); !holds() && std::chrono::steady_clock::now() < end;) std::this_thread::yield();
    return holds();
  };
  ASSERT_TRUE(until([&] { return plugin_->statuses > 0; }));
  EXPECT_EQ(health.size(), 0u);
  plugin_->say("ok");
  ASSERT_TRUE(file::write_atomic(path, config() + "# again\n", 0600));
  ASSERT_TRUE(until([&] { return health.size() == 1; }));
  ASSERT_TRUE(put("hidden"));
  EXPECT_TRUE(raw().starts_with(kPrefix));
  EXPECT_TRUE(health.check());
}

TEST_F(Kms, ValuesOfAPlainKeyAreRead) {
  open();
  std::string key(32, 'k');
  auth::KmsSealed sealed{*(*auth::make_kms_sealer(auth::kKmsKey, key))->seal("older", kSecret), "key-0", "key-0/" + key, {}, auth::kKmsKey};
  ASSERT_TRUE(inner_->commit({kSecret, 0, false, std::make_shared<const std::string>(kPrefix + auth::to_bytes(sealed))}));
  EXPECT_EQ(read(), "older");
}

TEST(KmsConfiguration, SaysWhereAMistakeIs) {
  SimulatedClock clock;
  auto problem = [&](const std::string& kms, const std::string& resources = "[secrets]") {
    auto read = parse_encryption("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{resources: " + resources + ", providers: [{kms: {" + kms + "}}]}]\n", clock);
    return read ? "" : read.error().message();
  };
  const std::string kms = "resources[0].providers[0].kms.";
  EXPECT_EQ(problem("apiVersion: v2, name: a, endpoint: 'unix:///run/kms.sock'"), "");
  EXPECT_EQ(problem("apiVersion: v2, endpoint: 'unix:///run/kms.sock'"), kms + "name: Required value: name is a mandatory field for a provider");
  EXPECT_EQ(problem("apiVersion: v2, name: 'a:b', endpoint: 'unix:///run/kms.sock'"), kms + "name: Invalid value: \"a:b\": invalid KMS provider name a:b, must not contain ':'");
  EXPECT_EQ(problem("apiVersion: v2, name: a"), kms + "endpoint: Invalid value: \"\": endpoint is a mandatory field for a kms");
  EXPECT_EQ(problem("apiVersion: v2, name: a, endpoint: 'tcp://host'"), kms + "endpoint: Invalid value: \"tcp://host\": unsupported scheme \"tcp\" for KMS provider, only unix is supported");
  EXPECT_EQ(problem("apiVersion: v2, name: a, endpoint: 'unix:///run/kms.sock', timeout: 0s"), kms + "timeout: Invalid value: \"0s\": timeout should be a positive value");
  EXPECT_EQ(problem("apiVersion: v2, name: a, endpoint: 'unix:///run/kms.sock', cachesize: 10"), kms + "cachesize: Invalid value: 10: cachesize is not supported in v2");
  EXPECT_EQ(problem("apiVersion: v3, name: a, endpoint: 'unix:///run/kms.sock'"), kms + "apiVersion: Invalid value: \"v3\": unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported");
  EXPECT_EQ(problem("apiVersion: v2, name: a, endpoint: 'unix:///run/kms.sock'", "[secrets, '*.']"), "resources[0].resources: Invalid value: [\"secrets\",\"*.\"]: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked");
  EXPECT_EQ(problem("apiVersion: v2, name: a, endpoint: 'unix:///run/kms.sock'", "[secrets, secrets]"), "resources[0].resources: Invalid value: [\"secrets\",\"secrets\"]: the same resource cannot be specified multiple times");
  EXPECT_EQ(problem("apiVersion: v2, name: a, endpoint: 'unix:///run/kms.sock'", "['pods.*']"), "resources[0].resources[0]: Invalid value: \"pods.*\": encrypting the same resource across groups is not supported");
  EXPECT_EQ(problem("apiVersion: v2, name: a, endpoint: 'unix:///run/kms.sock'", "[Secrets]"), "resources[0].resources[0]: Invalid value: \"Secrets\": resource name should not contain capital letters");
}

}  // namespace
}  // namespace kcube::server
