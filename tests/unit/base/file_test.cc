#include "pkg/base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

namespace kcube {
namespace {

class File : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/kcube-file-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override { EXPECT_TRUE(file::remove_tree(dir_)); }
  std::string dir_;
};

TEST_F(File, ReplacesAtomicallyWithTheMode) {
  ASSERT_TRUE(file::write_atomic(dir_ + "/a", "one", 0600));
  ASSERT_TRUE(file::write_atomic(dir_ + "/a", "two", 0600));
  EXPECT_EQ(*file::read(dir_ + "/a"), "two");
  EXPECT_EQ(file::list(dir_)->size(), 1u);
}

TEST_F(File, SaysWhenAFileIsTooLargeOrMissing) {
  ASSERT_TRUE(file::write(dir_ + "/a", "0123456789"));
  EXPECT_EQ(file::read(dir_ + "/a", 5).error().code(), 413);
  EXPECT_EQ(file::read(dir_ + "/none").error().code(), 404);
}

TEST_F(File, ALinkCannotLeaveTheRoot) {
  ASSERT_TRUE(file::make_dirs(dir_ + "/root/etc"));
  ASSERT_TRUE(file::write(dir_ + "/secret", "s"));
  ASSERT_EQ(::symlink("../../secret", (dir_ + "/root/etc/link").c_str()), 0);
  auto root = file::open(dir_ + "/root", O_PATH | O_DIRECTORY);
  ASSERT_TRUE(root);
  EXPECT_EQ(file::open_beneath(*root, "etc/link", O_RDONLY).error().code(), 404);
}

TEST_F(File, RemoveTreeDoesNotFollowLinks) {
  ASSERT_TRUE(file::make_dirs(dir_ + "/a/b/c"));
  ASSERT_TRUE(file::make_dirs(dir_ + "/keep"));
  ASSERT_TRUE(file::write(dir_ + "/keep/file", ""));
  ASSERT_EQ(::symlink((dir_ + "/keep").c_str(), (dir_ + "/a/b/link").c_str()), 0);
  ASSERT_TRUE(file::remove_tree(dir_ + "/a"));
  EXPECT_TRUE(file::exists(dir_ + "/keep/file"));
  EXPECT_FALSE(file::exists(dir_ + "/a"));
}

TEST_F(File, ASecondLockIsRefused) {
  auto first = file::lock(dir_ + "/lock");
  ASSERT_TRUE(first);
  EXPECT_TRUE(file::lock(dir_ + "/lock").error().is_conflict());
  first->reset();
  EXPECT_TRUE(file::lock(dir_ + "/lock"));
}

}  // namespace
}  // namespace kcube
