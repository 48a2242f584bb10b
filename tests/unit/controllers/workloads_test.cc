#include "pkg/controllers/factories.h"
#include "tests/unit/controllers/fake_client.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

const char* kReplicaSet = R"({"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"web","namespace":"default"},
  "spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},
  "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"busybox"}]}}}})";

std::string deployment(std::string_view extra = "", std::string_view image = "v1", int replicas = 4) {
  return R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default"},"spec":{"replicas":)" +
         std::to_string(replicas) + R"(,"revisionHistoryLimit":1,"progressDeadlineSeconds":600,)" + std::string(extra) +
         R"("selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":")" +
         std::string(image) + R"("}]}}}})";
}

std::string image_patch(std::string_view image) {
  return R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":")" + std::string(image) + R"("}]}}}})";
}

class Workloads : public testing::Test {
 protected:
  World world;
  int64_t number(const api::GroupVersionResource& resource, std::string_view name, std::initializer_list<std::string_view> path) {
    auto object = world.get(resource, "default", name);
    return object ? json::get_int(object->value(), path) : -1;
  }
  std::string reason(const api::GroupVersionResource& resource, std::string_view name, std::string_view type) {
    const json::value* c = find_condition(world.get(resource, "default", name)->value(), type);
    return c ? string_at(*c, {"reason"}) : "";
  }
  // Lets pods become ready until the rollout is over.
  void finish_rollout() {
    for (int i = 0; i < 20; ++i) world.run_pods();
  }
};

TEST_F(Workloads, ReplicaSetKeepsItsNumberOfPods) {
  world.run(make_replica_set_controller(world.context()));
  world.make(kReplicaSets, kReplicaSet);
  world.settle();
  ASSERT_EQ(world.list(kPods).size(), 3u);
  EXPECT_TRUE(world.list(kPods)[0]->name().starts_with("web-"));
  world.run_pods();
  EXPECT_EQ(number(kReplicaSets, "web", {"status", "availableReplicas"}), 3);
  EXPECT_EQ(number(kReplicaSets, "web", {"status", "observedGeneration"}), 1);
  world.client.finish_deletion(kPods, "default", world.list(kPods)[0]->name());
  world.settle();
  EXPECT_EQ(world.list(kPods).size(), 3u);
  world.patch(kReplicaSets, "default", "web", R"({"spec":{"replicas":1}})");
  world.settle();
  EXPECT_EQ(world.list(kPods).size(), 1u);
  // The pod that was not ready went before those that were.
  EXPECT_EQ(json::get_string(world.list(kPods)[0]->value(), {"status", "phase"}), "Running");
}

TEST_F(Workloads, ReplicaSetAdoptsMatchingOrphansAndReleasesOthers) {
  world.run(make_replica_set_controller(world.context()));
  world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"orphan","namespace":"default","labels":{"app":"web"}},"spec":{}})");
  world.make(kReplicaSets, kReplicaSet);
  world.settle();
  EXPECT_EQ(world.list(kPods).size(), 3u);
  EXPECT_EQ(api::controller_of(world.get(kPods, "default", "orphan")->value()).name, "web");
  world.patch(kPods, "default", "orphan", R"({"metadata":{"labels":{"app":"other"}}})");
  world.settle();
  EXPECT_EQ(api::controller_of(world.get(kPods, "default", "orphan")->value()).name, "");
  EXPECT_EQ(world.list(kPods).size(), 4u);
}

TEST_F(Workloads, ReplicaSetReportsAQuotaAndStopsEarly) {
  int asked = 0;
  world.client.on_create = [&](const auto& resource, const auto&) -> Result<void> {
    if (resource != kPods) return {};
    return fail(api::forbidden("", "pods", "x" + std::to_string(++asked), "exceeded quota"));
  };
  world.run(make_replica_set_controller(world.context()));
  world.make(kReplicaSets, kReplicaSet);
  world.settle();
  EXPECT_LE(asked, 2);  // not three at once
  EXPECT_EQ(reason(kReplicaSets, "web", "ReplicaFailure"), "FailedCreate");
  world.client.on_create = nullptr;
  world.advance(std::chrono::seconds(1));
  EXPECT_EQ(world.list(kPods).size(), 3u);
  EXPECT_EQ(reason(kReplicaSets, "web", "ReplicaFailure"), "");
}

TEST_F(Workloads, MinReadySecondsDelaysAvailability) {
  world.run(make_replica_set_controller(world.context()));
  world.make(kReplicaSets, kReplicaSet);
  world.patch(kReplicaSets, "default", "web", R"({"spec":{"minReadySeconds":10}})");
  world.settle();
  world.run_pods();
  EXPECT_EQ(number(kReplicaSets, "web", {"status", "readyReplicas"}), 3);
  EXPECT_EQ(number(kReplicaSets, "web", {"status", "availableReplicas"}), 0);
  world.advance(std::chrono::seconds(10));
  EXPECT_EQ(number(kReplicaSets, "web", {"status", "availableReplicas"}), 3);
}

TEST_F(Workloads, ReplicationControllerSelectsByMap) {
  world.run(make_replication_controller(world.context()));
  world.make(kReplicationControllers, R"({"apiVersion":"v1","kind":"ReplicationController","metadata":{"name":"rc","namespace":"default"},
    "spec":{"replicas":2,"selector":{"app":"rc"},"template":{"metadata":{"labels":{"app":"rc"}},"spec":{"containers":[]}}}})");
  world.settle();
  EXPECT_EQ(world.list(kPods).size(), 2u);
  EXPECT_EQ(number(kReplicationControllers, "rc", {"status", "replicas"}), 2);
}

class Rollouts : public Workloads {
 protected:
  void SetUp() override { world.run(make_replica_set_controller(world.context()), make_deployment_controller(world.context())); }
};

TEST_F(Rollouts, DeploymentRollsForwardWithinItsLimits) {
  world.make(kDeployments, deployment(R"("strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"}},)"));
  world.settle();
  ASSERT_EQ(world.list(kReplicaSets).size(), 1u);
  EXPECT_EQ(reason(kDeployments, "web", "Progressing"), "ReplicaSetUpdated");
  finish_rollout();
  EXPECT_EQ(number(kDeployments, "web", {"status", "availableReplicas"}), 4);
  EXPECT_EQ(reason(kDeployments, "web", "Progressing"), "NewReplicaSetAvailable");
  EXPECT_EQ(reason(kDeployments, "web", "Available"), "MinimumReplicasAvailable");
  EXPECT_EQ(string_at(world.get(kDeployments, "default", "web")->value(), {"metadata", "annotations", "deployment.kubernetes.io/revision"}), "1");

  world.patch(kDeployments, "default", "web", image_patch("v2"));
  for (int i = 0; i < 20; ++i) {
    world.settle();
    size_t active = 0, ready = 0;
    for (const auto& pod : world.list(kPods)) {
      active += !pod->deleting();
      ready += condition_is(pod->value(), "Ready");
    }
    EXPECT_LE(active, 5u);
    EXPECT_GE(ready, 3u);
    world.run_pods();
  }
  EXPECT_EQ(number(kDeployments, "web", {"status", "updatedReplicas"}), 4);
  EXPECT_EQ(number(kDeployments, "web", {"status", "replicas"}), 4);
  for (const auto& pod : world.list(kPods)) EXPECT_EQ(json::get_string(json::get_array(json::at(&pod->value(), {"spec", "containers"}))[0], {"image"}), "v2");

  // Going back takes the old ReplicaSet, with a new revision; a third template prunes the history to one.
  world.patch(kDeployments, "default", "web", image_patch("v1"));
  finish_rollout();
  EXPECT_EQ(world.list(kReplicaSets).size(), 2u);
  EXPECT_EQ(string_at(world.get(kDeployments, "default", "web")->value(), {"metadata", "annotations", "deployment.kubernetes.io/revision"}), "3");
  world.patch(kDeployments, "default", "web", image_patch("v3"));
  finish_rollout();
  EXPECT_EQ(world.list(kReplicaSets).size(), 2u);
}

TEST_F(Rollouts, RecreateStopsOldPodsFirst) {
  world.make(kDeployments, deployment(R"("strategy":{"type":"Recreate"},)"));
  world.settle();
  finish_rollout();
  world.client.hold_pods = true;
  world.patch(kDeployments, "default", "web", image_patch("v2"));
  world.settle();
  ASSERT_EQ(world.list(kPods).size(), 4u);
  for (const auto& pod : world.list(kPods)) EXPECT_TRUE(pod->deleting());
  for (const auto& pod : world.list(kPods)) world.client.finish_deletion(kPods, "default", pod->name());
  world.settle();
  EXPECT_EQ(world.list(kPods).size(), 4u);
  finish_rollout();
  EXPECT_EQ(number(kDeployments, "web", {"status", "updatedReplicas"}), 4);
}

TEST_F(Rollouts, PausedDeploymentScalesButDoesNotRoll) {
  world.make(kDeployments, deployment(R"("strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},)"));
  world.settle();
  finish_rollout();
  world.patch(kDeployments, "default", "web", R"({"spec":{"paused":true}})");
  world.patch(kDeployments, "default", "web", image_patch("v2"));
  world.settle();
  EXPECT_EQ(world.list(kReplicaSets).size(), 1u);
  EXPECT_EQ(reason(kDeployments, "web", "Progressing"), "DeploymentPaused");
  world.patch(kDeployments, "default", "web", R"({"spec":{"replicas":6}})");
  world.settle();
  EXPECT_EQ(world.list(kPods).size(), 6u);
  world.patch(kDeployments, "default", "web", R"({"spec":{"paused":false}})");
  finish_rollout();
  EXPECT_EQ(number(kDeployments, "web", {"status", "updatedReplicas"}), 6);
}

TEST_F(Rollouts, ScalingDuringARolloutIsProportional) {
  world.make(kDeployments, deployment(R"("strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":3,"maxUnavailable":2}},)", "v1", 10));
  world.settle();
  finish_rollout();
  world.patch(kDeployments, "default", "web", image_patch("v2"));
  world.settle();  // 8 old, 5 new that never become ready
  world.patch(kDeployments, "default", "web", R"({"spec":{"replicas":15}})");
  world.settle();
  std::map<std::string, int64_t> sizes;
  for (const auto& set : world.list(kReplicaSets))
    sizes[string_at(set->value(), {"metadata", "annotations", "deployment.kubernetes.io/revision"})] = json::get_int(set->value(), {"spec", "replicas"});
  EXPECT_EQ(sizes["1"], 11);
  EXPECT_EQ(sizes["2"], 7);
}

TEST_F(Rollouts, StuckRolloutRunsIntoItsDeadline) {
  world.make(kDeployments, deployment(R"("strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},)"));
  world.settle();
  world.advance(std::chrono::seconds(602));
  EXPECT_EQ(reason(kDeployments, "web", "Progressing"), "ProgressDeadlineExceeded");
  EXPECT_EQ(reason(kDeployments, "web", "Available"), "MinimumReplicasUnavailable");
  finish_rollout();
  EXPECT_EQ(reason(kDeployments, "web", "Progressing"), "NewReplicaSetAvailable");
}

}  // namespace
}  // namespace kcube::controllers
