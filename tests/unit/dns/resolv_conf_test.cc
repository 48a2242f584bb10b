#include "pkg/dns/resolv_conf.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "pkg/base/file.h"

namespace kcube::dns {
namespace {

using Strings = std::vector<std::string>;

TEST(ResolvConf, ReadsServersAndOptions) {
  auto conf = parse_resolv_conf(
      "# made by hand\nsearch example.org\nnameserver 192.0.2.1 # first\nnameserver\t2001:db8::1\nnameserver "
      "nonsense\nnameserver 10.43.0.10\noptions ndots:5 timeout:1 attempts:3\n",
      {"10.43.0.10"});
  EXPECT_EQ(conf.servers, (Strings{"192.0.2.1", "2001:db8::1"}));
  EXPECT_EQ(conf.timeout_seconds, 1);
  EXPECT_EQ(conf.attempts, 3);
}

TEST(ResolvConf, IsReadAgainWhenItChanges) {
  char directory[] = "/tmp/kcube-dns-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  std::string path = std::string(directory) + "/resolv.conf";
  ResolvConfFile file(path, {});
  EXPECT_TRUE(file.current().servers.empty());
  ASSERT_TRUE(file::write(path, "nameserver 192.0.2.1\n"));
  EXPECT_EQ(file.current().servers, Strings{"192.0.2.1"});
  ASSERT_TRUE(file::write_atomic(path, "nameserver 192.0.2.2\n"));
  EXPECT_EQ(file.current().servers, Strings{"192.0.2.2"});
  ASSERT_TRUE(file::remove(path));
  EXPECT_TRUE(file.current().servers.empty());
  (void)file::remove_tree(directory);
}

}  // namespace
}  // namespace kcube::dns
