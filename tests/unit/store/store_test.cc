#include "pkg/store/store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdlib.h>

#include <thread>

#include "pkg/base/file.h"

namespace kcube::store {
namespace {

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/kcube-store-XXXXXX";
    directory_ = mkdtemp(name);
    open();
  }
  void TearDown() override {
    store_.reset();
    (void)file::remove_tree(directory_);
  }
  void open() {
    store_.reset();
    auto opened = open_sqlite({.path = directory_ + "/db"});
    ASSERT_TRUE(opened) << opened.error().message();
    store_ = std::move(*opened);
  }
  Result<uint64_t> put(const std::string& key, const std::string& value, uint64_t expected = 0) {
    return store_->commit({key, expected, false, std::make_shared<const std::string>(value)});
  }
  Result<uint64_t> remove(const std::string& key, uint64_t expected) { return store_->commit({key, expected, true, nullptr}); }

  std::string directory_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, CreatesUpdatesAndRemovesByRevision) {
  auto created = put("/a", "1");
  ASSERT_TRUE(created);
  EXPECT_EQ(put("/a", "again").error().code(), 409);
  auto updated = put("/a", "2", *created);
  ASSERT_TRUE(updated);
  EXPECT_EQ(*updated, *created + 1);
  EXPECT_EQ(put("/a", "3", *created).error().code(), 409);
  EXPECT_EQ(remove("/a", *created).error().code(), 409);
  ASSERT_TRUE(remove("/a", *updated));
  EXPECT_EQ(remove("/a", 0).error().code(), 409);
  EXPECT_TRUE(store_->range("/", "", 0, 0)->items.empty());
}

TEST_F(StoreTest, RangesByPrefixInOrderWithLimitAndStart) {
  for (const char* key : {"/p/b", "/p/a", "/q/x", "/p/c"}) ASSERT_TRUE(put(key, key));
  auto first = store_->range("/p/", "", 2, 0);
  ASSERT_TRUE(first);
  ASSERT_EQ(first->items.size(), 2u);
  EXPECT_EQ(first->items[0].key, "/p/a");
  EXPECT_TRUE(first->more);
  auto rest = store_->range("/p/", "/p/c", 2, first->revision);
  ASSERT_EQ(rest->items.size(), 1u);
  EXPECT_EQ(rest->items[0].key, "/p/c");
  EXPECT_FALSE(rest->more);
}

TEST_F(StoreTest, ReadsThePastUntilCompacted) {
  uint64_t a = *put("/a", "old");
  uint64_t b = *put("/b", "stays");
  ASSERT_TRUE(put("/a", "new", a));
  ASSERT_TRUE(put("/c", "later"));
  ASSERT_TRUE(remove("/b", b));
  auto then = store_->range("/", "", 0, b);
  ASSERT_TRUE(then);
  ASSERT_EQ(then->items.size(), 2u);
  EXPECT_EQ(*then->items[0].value, "old");
  EXPECT_EQ(then->items[0].mod_revision, a);
  EXPECT_EQ(*then->items[1].value, "stays");
  ASSERT_TRUE(store_->compact(store_->revision()));
  EXPECT_EQ(store_->range("/", "", 0, b).error().code(), 410);
  EXPECT_EQ(store_->changes_since("/", b, 0).error().code(), 410);
  auto now = store_->range("/", "", 0, 0);
  ASSERT_EQ(now->items.size(), 2u);
  EXPECT_EQ(*now->items[0].value, "new");
}

TEST_F(StoreTest, CompactionKeepsWhatIsCurrentAtItsRevision) {
  uint64_t a = *put("/a", "1");
  uint64_t a2 = *put("/a", "2", a);
  uint64_t a3 = *put("/a", "3", a2);
  ASSERT_TRUE(store_->compact(a2));
  auto then = store_->range("/", "", 0, a2);
  ASSERT_TRUE(then);
  EXPECT_EQ(*then->items[0].value, "2");
  auto changes = store_->changes_since("/", a2, 0);
  ASSERT_TRUE(changes);
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_EQ((*changes)[0].revision, a3);
  EXPECT_EQ(*(*changes)[0].previous_value, "2");
}

TEST_F(StoreTest, TellsTheSinkEveryChangeInOrderBeforeTheCallerReturns) {
  std::vector<Change> seen;
  ASSERT_TRUE(store_->follow(store_->revision(), [&](const std::vector<Change>& batch) { seen.insert(seen.end(), batch.begin(), batch.end()); }));
  uint64_t a = *put("/a", "1");
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].previous_revision, 0u);
  uint64_t b = *put("/a", "2", a);
  EXPECT_EQ(seen[1].previous_revision, a);
  EXPECT_EQ(seen[1].create_revision, a);
  ASSERT_TRUE(remove("/a", b));
  EXPECT_TRUE(seen[2].removed);
  EXPECT_EQ(*seen[2].value, "2");
}

TEST_F(StoreTest, CommitsAllOrNothing) {
  uint64_t a = *put("/a", "1");
  auto value = std::make_shared<const std::string>("x");
  auto failed = store_->commit_all({{"/b", 0, false, value}, {"/a", a + 7, false, value}});
  EXPECT_EQ(failed.error().code(), 409);
  EXPECT_EQ(store_->range("/", "", 0, 0)->items.size(), 1u);
  auto done = store_->commit_all({{"/b", 0, false, value}, {"/a", a, true, nullptr}});
  ASSERT_TRUE(done);
  EXPECT_EQ(*done, a + 2);
  EXPECT_EQ(store_->range("/", "", 0, 0)->items[0].key, "/b");
}

TEST_F(StoreTest, KeepsObjectsLogAndRevisionOverARestart) {
  uint64_t a = *put("/a", "1");
  uint64_t b = *put("/b", "2");
  ASSERT_TRUE(remove("/b", b));
  uint64_t last = store_->revision();
  open();
  EXPECT_EQ(store_->revision(), last);
  EXPECT_EQ(store_->changes_since("/", a, 0)->size(), 2u);
  ASSERT_TRUE(store_->compact(last));
  open();
  EXPECT_EQ(store_->revision(), last);
  EXPECT_EQ(*put("/c", "3"), last + 1);
}

TEST_F(StoreTest, CompactsByItselfAndKeepsTheFileSmall) {
  store_.reset();
  auto opened = open_sqlite({.path = directory_ + "/small", .keep_revisions = 100, .wal_limit_bytes = 1 << 20});
  ASSERT_TRUE(opened);
  store_ = std::move(*opened);
  uint64_t revision = *put("/a", std::string(2000, 'x'));
  std::thread writers[8];
  for (int w = 0; w < 8; ++w)
    writers[w] = std::thread([&, w] {
      uint64_t r = 0;
      for (int i = 0; i < 1500; ++i) r = *put("/w" + std::to_string(w), std::string(2000, 'y'), r);
    });
  for (auto& writer : writers) writer.join();
  EXPECT_GT(store_->compacted_revision(), revision);
  EXPECT_EQ(store_->range("/", "", 0, 0)->items.size(), 9u);
  EXPECT_LT(store_->size_bytes(), uint64_t{20} << 20);
}

TEST_F(StoreTest, RefusesASecondServer) {
  auto second = open_sqlite({.path = directory_ + "/db"});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), 409);
}

TEST_F(StoreTest, RefusesANewerFormatAndDamage) {
  store_.reset();
  sqlite3* raw;
  ASSERT_EQ(sqlite3_open((directory_ + "/db").c_str(), &raw), SQLITE_OK);
  sqlite3_exec(raw, "PRAGMA user_version=99", nullptr, nullptr, nullptr);
  sqlite3_close(raw);
  auto newer = open_sqlite({.path = directory_ + "/db"});
  ASSERT_FALSE(newer);
  EXPECT_NE(newer.error().message().find("newer kcube"), std::string::npos) << newer.error().message();
  ASSERT_TRUE(file::write(directory_ + "/junk", std::string(8192, 'j')));
  auto junk = open_sqlite({.path = directory_ + "/junk"});
  ASSERT_FALSE(junk);
  EXPECT_NE(junk.error().message().find("damaged"), std::string::npos) << junk.error().message();
}

}  // namespace
}  // namespace kcube::store
