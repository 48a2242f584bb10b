#include <gtest/gtest.h>

#include "pkg/api/views/apps_v1.h"
#include "pkg/api/views/core_v1.h"

namespace kcube {
namespace {

TEST(Views, ReadDeepPathsWithoutChecks) {
  auto value = json::parse(R"({"metadata":{"name":"p","labels":{"a":"b"}},"spec":{"nodeName":"n1","hostNetwork":true,
    "containers":[{"name":"c1","args":["x","y"]},{"name":"c2"}]},"status":{"podIP":"10.0.0.1"}})");
  core::v1::Pod pod(*value);
  EXPECT_EQ(pod.metadata().name(), "p");
  EXPECT_EQ(pod.metadata().labels().get("a"), "b");
  EXPECT_EQ(pod.spec().node_name(), "n1");
  EXPECT_TRUE(pod.spec().host_network());
  EXPECT_EQ(pod.spec().termination_grace_period_seconds(30), 30);
  EXPECT_EQ(pod.status().pod_ip(), "10.0.0.1");
  std::string names;
  for (auto c : pod.spec().containers()) names += c.name();
  EXPECT_EQ(names, "c1c2");
  EXPECT_EQ(pod.spec().containers()[0].args().size(), 2u);
  EXPECT_EQ(pod.spec().affinity().node_affinity().required_during_scheduling_ignored_during_execution().node_selector_terms().size(), 0u);
  EXPECT_FALSE(pod.spec().has_priority());
}

}  // namespace
}  // namespace kcube
