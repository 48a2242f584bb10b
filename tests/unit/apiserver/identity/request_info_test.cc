#include "pkg/apiserver/request_info.h"

#include <gtest/gtest.h>

namespace kcube::apiserver {
namespace {

TEST(RequestInfo, RestOfAProxyPathIsWhatFollowsTheSubresource) {
  auto rest = [](const char* path) { return parse_request("GET", path, false).rest; };
  EXPECT_EQ(rest("/api/v1/namespaces/a/services/b/proxy"), "");
  EXPECT_EQ(rest("/api/v1/namespaces/a/services/b/proxy/"), "/");
  EXPECT_EQ(rest("/api/v1/namespaces/a/services/b/proxy/x/proxy/y"), "/x/proxy/y");
  // Names that look like the subresource.
  EXPECT_EQ(rest("/api/v1/namespaces/proxy-1/services/proxy-service:http/proxy/x"), "/x");
  EXPECT_EQ(rest("/api/v1/namespaces/proxy/pods/https:proxy:443/proxy/proxy"), "/proxy");
  EXPECT_EQ(rest("/api/v1/nodes/proxy/proxy/logs/"), "/logs/");
}

}  // namespace
}  // namespace kcube::apiserver
