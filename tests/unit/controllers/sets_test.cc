// DaemonSets and StatefulSets.
#include "pkg/controllers/factories.h"
#include "pkg/controllers/revisions.h"
#include "tests/unit/controllers/fake_client.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

std::string set_of(std::string_view kind, std::string_view spec) {
  return R"({"apiVersion":"apps/v1","kind":")" + std::string(kind) + R"(","metadata":{"name":"s","namespace":"default"},"spec":{)" + std::string(spec) +
         R"("selector":{"matchLabels":{"app":"s"}},"template":{"metadata":{"labels":{"app":"s"}},"spec":{"containers":[{"name":"c","image":"v1"}]}}}})";
}
const char* kNewImage = R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"v2"}]}}}})";

std::string image(const api::Object& pod) { return string_at(json::get_array(json::at(&pod.value(), {"spec", "containers"}))[0], {"image"}); }

class Daemons : public testing::Test {
 protected:
  World world;
  void SetUp() override { world.run(make_daemon_set_controller(world.context())); }
  void node(const std::string& name, const std::string& extra = "") {
    world.make(kNodes, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name + R"("},"spec":{)" + extra + "}}");
  }
  // Binds each pod to the node it is pinned to.
  void run() {
    world.settle();
    for (const auto& pod : world.list(kPods)) {
      if (!json::get_string(pod->value(), {"spec", "nodeName"}).empty()) continue;
      const auto& term = json::get_array(json::at(&pod->value(), {"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"}))[0];
      std::string target(json::get_string(&json::get_array(json::find(&json::get_array(json::find(&term, "matchFields"))[0], "values"))[0]));
      world.patch(kPods, "default", pod->name(), R"({"spec":{"nodeName":")" + target + "\"}}");
    }
    world.run_pods();
  }
  int64_t number(const char* name) { return json::get_int(world.get(kDaemonSets, "default", "s")->value(), {"status", name}); }
};

TEST_F(Daemons, RunOnEveryNodeThatFits) {
  node("a");
  node("b", R"("taints":[{"key":"dedicated","effect":"NoSchedule"}])");
  node("c", R"("unschedulable":true,"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}])");
  world.make(kDaemonSets, set_of("DaemonSet", R"("updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":1}},)"));
  run();
  EXPECT_EQ(world.list(kPods).size(), 2u);
  EXPECT_EQ(number("desiredNumberScheduled"), 2);
  EXPECT_EQ(number("numberAvailable"), 2);
  node("d");
  run();
  EXPECT_EQ(world.list(kPods).size(), 3u);
  world.patch(kNodes, "", "a", R"({"spec":{"taints":[{"key":"x","effect":"NoExecute"}]}})");
  run();
  EXPECT_EQ(world.list(kPods).size(), 2u);
}

TEST_F(Daemons, UpdateNodeByNode) {
  for (const char* n : {"a", "b", "c"}) node(n);
  world.make(kDaemonSets, set_of("DaemonSet", R"("updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":1}},)"));
  run();
  world.patch(kDaemonSets, "default", "s", kNewImage);
  for (int i = 0; i < 5; ++i) {
    world.settle();
    int ready = 0;
    for (const auto& pod : world.list(kPods)) ready += condition_is(pod->value(), "Ready");
    EXPECT_GE(ready, 2);
    run();
  }
  EXPECT_EQ(number("updatedNumberScheduled"), 3);
  for (const auto& pod : world.list(kPods)) EXPECT_EQ(image(*pod), "v2");
  EXPECT_EQ(world.list(kControllerRevisions).size(), 2u);
}

TEST_F(Daemons, SurgeStartsTheNewPodFirst) {
  node("a");
  world.make(kDaemonSets, set_of("DaemonSet", R"("updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},)"));
  run();
  world.patch(kDaemonSets, "default", "s", kNewImage);
  world.settle();
  EXPECT_EQ(world.list(kPods).size(), 2u);
  run();
  ASSERT_EQ(world.list(kPods).size(), 1u);
  EXPECT_EQ(image(*world.list(kPods)[0]), "v2");
}

TEST_F(Daemons, OnDeleteWaitsForTheUser) {
  node("a");
  world.make(kDaemonSets, set_of("DaemonSet", R"("updateStrategy":{"type":"OnDelete"},)"));
  run();
  world.patch(kDaemonSets, "default", "s", kNewImage);
  run();
  EXPECT_EQ(image(*world.list(kPods)[0]), "v1");
  world.client.finish_deletion(kPods, "default", world.list(kPods)[0]->name());
  run();
  EXPECT_EQ(image(*world.list(kPods)[0]), "v2");
}

class Stateful : public testing::Test {
 protected:
  World world;
  void SetUp() override { world.run(make_stateful_set_controller(world.context())); }
  int64_t number(const char* name) { return json::get_int(world.get(kStatefulSets, "default", "s")->value(), {"status", name}); }
  api::ObjectPtr pod(const char* name) { return world.get(kPods, "default", name); }
};

TEST_F(Stateful, PodsComeAndGoInOrder) {
  world.make(kStatefulSets, set_of("StatefulSet", R"("replicas":3,"serviceName":"svc","volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{}}],)"));
  world.settle();
  EXPECT_TRUE(pod("s-0"));
  EXPECT_FALSE(pod("s-1"));
  EXPECT_EQ(string_at(pod("s-0")->value(), {"spec", "subdomain"}), "svc");
  EXPECT_TRUE(world.get(kPersistentVolumeClaims, "default", "data-s-0"));
  world.run_pods();
  EXPECT_TRUE(pod("s-1"));
  EXPECT_FALSE(pod("s-2"));
  world.run_pods();
  world.run_pods();
  EXPECT_EQ(number("readyReplicas"), 3);
  EXPECT_EQ(number("currentReplicas"), 3);
  world.client.finish_deletion(kPods, "default", "s-1");
  world.settle();
  EXPECT_TRUE(pod("s-1")) << "the same name comes back";
  world.run_pods();
  world.client.hold_pods = true;
  world.patch(kStatefulSets, "default", "s", R"({"spec":{"replicas":1}})");
  world.settle();
  EXPECT_TRUE(pod("s-2")->deleting());
  EXPECT_FALSE(pod("s-1")->deleting());
  world.client.finish_deletion(kPods, "default", "s-2");
  world.settle();
  EXPECT_TRUE(pod("s-1")->deleting());
  EXPECT_TRUE(world.get(kPersistentVolumeClaims, "default", "data-s-2")) << "claims stay";
}

TEST_F(Stateful, UpdatesFromTheLastToThePartition) {
  world.make(kStatefulSets, set_of("StatefulSet", R"("replicas":3,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":1}},)"));
  world.settle();
  for (int i = 0; i < 3; ++i) world.run_pods();
  std::string before = string_at(world.get(kStatefulSets, "default", "s")->value(), {"status", "currentRevision"});
  world.patch(kStatefulSets, "default", "s", kNewImage);
  world.settle();
  EXPECT_EQ(image(*pod("s-2")), "v2");
  EXPECT_EQ(image(*pod("s-1")), "v1");
  for (int i = 0; i < 3; ++i) world.run_pods();
  EXPECT_EQ(image(*pod("s-1")), "v2");
  EXPECT_EQ(image(*pod("s-0")), "v1");
  EXPECT_EQ(number("updatedReplicas"), 2);
  EXPECT_EQ(string_at(world.get(kStatefulSets, "default", "s")->value(), {"status", "currentRevision"}), before);
  world.client.finish_deletion(kPods, "default", "s-0");
  world.settle();
  EXPECT_EQ(image(*pod("s-0")), "v1") << "below the partition the old template stays";
  world.run_pods();
  world.patch(kStatefulSets, "default", "s", R"({"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}})");
  for (int i = 0; i < 3; ++i) world.settle(), world.run_pods();
  EXPECT_EQ(image(*pod("s-0")), "v2");
  EXPECT_NE(string_at(world.get(kStatefulSets, "default", "s")->value(), {"status", "currentRevision"}), before);
}

TEST_F(Stateful, ParallelDoesNotWait) {
  world.make(kStatefulSets, set_of("StatefulSet", R"("replicas":3,"podManagementPolicy":"Parallel","ordinals":{"start":5},)"));
  world.settle();
  EXPECT_TRUE(pod("s-5") && pod("s-6") && pod("s-7"));
}

TEST_F(Stateful, FailedPodIsReplaced) {
  world.make(kStatefulSets, set_of("StatefulSet", R"("replicas":1,)"));
  world.settle();
  std::string uid(pod("s-0")->uid());
  world.status(kPods, "default", "s-0", R"({"phase":"Failed"})");
  world.settle();
  EXPECT_NE(pod("s-0")->uid(), uid);
}

}  // namespace
}  // namespace kcube::controllers
