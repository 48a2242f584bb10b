#include "pkg/kubelet/user_namespaces.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "pkg/base/file.h"

namespace kcube::kubelet {
namespace {

class UserNamespacesTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/kcube-userns-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  void TearDown() override { EXPECT_TRUE(file::remove_tree(directory_)); }
  std::string directory_;
};

TEST_F(UserNamespacesTest, GivesEveryPodARangeOfItsOwn) {
  UserNamespaces namespaces(directory_, 2);
  EXPECT_EQ(65536u, namespaces.allocate("a").value_or(0));
  EXPECT_EQ(131072u, namespaces.allocate("b").value_or(0));
  EXPECT_EQ(65536u, namespaces.allocate("a").value_or(0)) << "it has one already";
  auto full = namespaces.allocate("c");
  ASSERT_FALSE(full);
  EXPECT_EQ("could not find an empty slot to allocate a user namespace", full.error().message());
  namespaces.release("a");
  EXPECT_EQ(65536u, namespaces.allocate("c").value_or(0));
}

TEST_F(UserNamespacesTest, RemembersRangesAcrossARestart) {
  {
    UserNamespaces namespaces(directory_);
    ASSERT_TRUE(namespaces.allocate("a"));
    ASSERT_TRUE(namespaces.allocate("b"));
  }
  ASSERT_TRUE(file::remove_tree(directory_ + "/a"));
  ASSERT_TRUE(file::make_dirs(directory_ + "/with-host-users"));
  UserNamespaces namespaces(directory_);
  EXPECT_EQ(131072u, namespaces.allocate("b").value_or(0));
  EXPECT_EQ(65536u, namespaces.allocate("c").value_or(0));
  EXPECT_EQ(R"({"uidMappings":[{"hostId":65536,"containerId":0,"length":65536}],"gidMappings":[{"hostId":65536,"containerId":0,"length":65536}]})",
            file::read(directory_ + "/c/userns").value_or(""));
}

}  // namespace
}  // namespace kcube::kubelet
