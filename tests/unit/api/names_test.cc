#include "pkg/api/names.h"

#include <gtest/gtest.h>

namespace kcube::api {
namespace {

TEST(Names, FollowTheRules) {
  EXPECT_EQ(check_dns1123_label("web-1"), "");
  EXPECT_NE(check_dns1123_label("Web"), "");
  EXPECT_NE(check_dns1123_label("-a"), "");
  EXPECT_NE(check_dns1123_label(std::string(64, 'a')), "");
  EXPECT_EQ(check_dns1123_subdomain("a.b-c.d"), "");
  EXPECT_NE(check_dns1123_subdomain("a..b"), "");
  EXPECT_NE(check_dns1035_label("1a"), "");
  EXPECT_EQ(check_qualified_name("example.com/Name_1"), "");
  EXPECT_NE(check_qualified_name("a/b/c"), "");
  EXPECT_NE(check_qualified_name("/b"), "");
  EXPECT_EQ(check_label_value(""), "");
  EXPECT_EQ(check_config_map_key("a.b_c-D"), "");
  EXPECT_NE(check_config_map_key("a/b"), "");
  EXPECT_NE(check_config_map_key(".."), "");
  EXPECT_EQ(check_port_name("http-1"), "");
  EXPECT_NE(check_port_name("8080"), "");
  EXPECT_NE(check_port_name("a--b"), "");
}

}  // namespace
}  // namespace kcube::api
