#include "pkg/store/encrypted_store.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "pkg/base/file.h"

namespace kcube::store {
namespace {

std::shared_ptr<const auth::Sealer> sealer(const std::string& name) {
  return *auth::make_sealer(name == "identity" ? name : "aesgcm", name, std::string(32, name[0]));
}

class Encrypted : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/kcube-encrypted-XXXXXX";
    directory_ = ::mkdtemp(path);
    auto inner = open_sqlite({.path = directory_ + "/state.db"});
    ASSERT_TRUE(inner);
    inner_ = inner->get();
    store_ = std::make_unique<EncryptedStore>(std::move(*inner), rules({"one", "identity"}));
  }
  void TearDown() override {
    store_.reset();
    (void)file::remove_tree(directory_);
  }
  static EncryptionRules rules(const std::vector<std::string>& names) {
    EncryptionRule rule{"/registry/secrets/", {}};
    for (const std::string& name : names) rule.sealers.push_back(sealer(name));
    return {std::move(rule)};
  }
  uint64_t put(const std::string& key, const std::string& value, uint64_t expected = 0) {
    auto done = store_->commit({key, expected, false, std::make_shared<const std::string>(value)});
    EXPECT_TRUE(done);
    return done.value_or(0);
  }
  std::string raw(const std::string& key) { return *inner_->range(key, key, 1, 0)->items.at(0).value; }
  std::string read(const std::string& key) {
    auto found = store_->range(key, key, 1, 0);
    return found ? *found->items.at(0).value : "failed: " + found.error().message();
  }

  std::string directory_;
  Store* inner_ = nullptr;
  std::unique_ptr<EncryptedStore> store_;
};

TEST_F(Encrypted, SealsTheKeysOfItsRulesOnly) {
  put("/registry/secrets/a/b", "hidden");
  put("/registry/pods/a/b", "seen");
  EXPECT_TRUE(raw("/registry/secrets/a/b").starts_with("k8s:enc:aesgcm:v1:one:"));
  EXPECT_EQ(raw("/registry/pods/a/b"), "seen");
  EXPECT_EQ(read("/registry/secrets/a/b"), "hidden");
  EXPECT_EQ(read("/registry/pods/a/b"), "seen");
}

TEST_F(Encrypted, ReadsPlainTextWhereIdentityIsAProvider) {
  ASSERT_TRUE(inner_->commit({"/registry/secrets/a/old", 0, false, std::make_shared<const std::string>("old")}));
  EXPECT_EQ(read("/registry/secrets/a/old"), "old");
  EXPECT_TRUE(store_->is_stale("/registry/secrets/a/old"));
  store_->set_rules(rules({"one"}));
  EXPECT_TRUE(read("/registry/secrets/a/old").starts_with("failed: "));
}

TEST_F(Encrypted, ANewFirstKeyMakesOldValuesStale) {
  uint64_t revision = put("/registry/secrets/a/b", "text");
  EXPECT_FALSE(store_->is_stale("/registry/secrets/a/b"));
  store_->set_rules(rules({"two", "one"}));
  EXPECT_EQ(read("/registry/secrets/a/b"), "text");
  EXPECT_TRUE(store_->is_stale("/registry/secrets/a/b"));
  put("/registry/secrets/a/b", "text", revision);
  EXPECT_FALSE(store_->is_stale("/registry/secrets/a/b"));
  store_->set_rules(rules({"two"}));
  EXPECT_EQ(read("/registry/secrets/a/b"), "text");
}

TEST_F(Encrypted, AValueMovedToAnotherKeyIsRefused) {
  put("/registry/secrets/a/b", "text");
  ASSERT_TRUE(inner_->commit({"/registry/secrets/a/c", 0, false, std::make_shared<const std::string>(raw("/registry/secrets/a/b"))}));
  EXPECT_TRUE(read("/registry/secrets/a/c").starts_with("failed: "));
}

TEST_F(Encrypted, ChangesAreToldInPlainText) {
  std::vector<Change> seen;
  ASSERT_TRUE(store_->follow(store_->revision(), [&](const std::vector<Change>& changes) { seen.insert(seen.end(), changes.begin(), changes.end()); }));
  uint64_t first = put("/registry/secrets/a/b", "first");
  uint64_t second = put("/registry/secrets/a/b", "second", first);
  ASSERT_TRUE(store_->commit({"/registry/secrets/a/b", second, true, nullptr}));
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(*seen[1].value, "second");
  EXPECT_EQ(seen[1].previous_revision, first);
  EXPECT_EQ(*seen[2].value, "second");
  auto changes = store_->changes_since("/registry/", first, 0);
  ASSERT_TRUE(changes);
  EXPECT_EQ(*changes->at(0).previous_value, "first");
}

}  // namespace
}  // namespace kcube::store
