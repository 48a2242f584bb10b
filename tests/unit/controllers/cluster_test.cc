// Garbage, nodes, certificates, quotas, budgets, volumes: what keeps a cluster in order.
#include "pkg/auth/auth.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/volumes.h"
#include "tests/unit/controllers/fake_client.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;
using std::chrono::seconds;

class Garbage : public testing::Test {
 protected:
  World world;
  void SetUp() override { world.run(make_garbage_collector(world.context())); }
  std::string owned_by(const api::ObjectPtr& owner, const char* kind, const char* version = "apps/v1") {
    return R"("ownerReferences":[{"apiVersion":")" + std::string(version) + R"(","kind":")" + kind + R"(","name":")" + std::string(owner->name()) + R"(","uid":")" +
           std::string(owner->uid()) + R"(","controller":true,"blockOwnerDeletion":true}])";
  }
  void SetUpFamily() {
    deployment = world.make(kDeployments, R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"default"}})");
    set = world.make(kReplicaSets, R"({"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"r","namespace":"default",)" + owned_by(deployment, "Deployment") + "}}");
    for (const char* name : {"p1", "p2"})
      world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + std::string(name) + R"(","namespace":"default",)" + owned_by(set, "ReplicaSet") + "}}");
    world.settle();
  }
  api::ObjectPtr deployment, set;
};

TEST_F(Garbage, BackgroundDeletionTakesTheWholeTree) {
  SetUpFamily();
  EXPECT_EQ(world.list(kPods).size(), 2u);
  (void)world.client.remove(kDeployments, "default", "d", {});
  world.settle();
  EXPECT_TRUE(world.list(kReplicaSets).empty());
  EXPECT_TRUE(world.list(kPods).empty());
}

TEST_F(Garbage, ForegroundDeletionKeepsTheOwnerUntilTheChildrenAreGone) {
  SetUpFamily();
  world.client.hold_pods = true;
  (void)world.client.remove(kDeployments, "default", "d", {.propagation = "Foreground"});
  world.settle();
  EXPECT_TRUE(world.get(kDeployments, "default", "d"));
  EXPECT_TRUE(world.get(kReplicaSets, "default", "r")->deleting());
  for (const char* name : {"p1", "p2"}) {
    EXPECT_TRUE(world.get(kPods, "default", name)->deleting());
    world.client.finish_deletion(kPods, "default", name);
  }
  world.settle();
  EXPECT_FALSE(world.get(kReplicaSets, "default", "r"));
  EXPECT_FALSE(world.get(kDeployments, "default", "d"));
}

TEST_F(Garbage, OrphansStay) {
  SetUpFamily();
  (void)world.client.remove(kReplicaSets, "default", "r", {.propagation = "Orphan"});
  world.settle();
  EXPECT_FALSE(world.get(kReplicaSets, "default", "r"));
  ASSERT_EQ(world.list(kPods).size(), 2u);
  EXPECT_TRUE(api::owner_references(world.list(kPods)[0]->value()).empty());
}

TEST_F(Garbage, ObjectsWhoseOwnerNeverWasAreCollected) {
  world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default",
    "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"x","uid":"no-such-uid"}]}})");
  world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"q","namespace":"default",
    "ownerReferences":[{"apiVersion":"example.com/v1","kind":"Unknown","name":"x","uid":"some-uid"}]}})");
  world.settle();
  EXPECT_FALSE(world.get(kPods, "default", "p"));
  EXPECT_TRUE(world.get(kPods, "default", "q")) << "of an unknown kind nobody can say that it is gone";
}

TEST_F(Garbage, AnotherOwnerKeepsTheChild) {
  SetUpFamily();
  auto other = world.make(kConfigMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"}})");
  auto pod = world.get(kPods, "default", "p1");
  json::value next(pod->value());
  json::ensure_array(json::ensure_path(next, {"metadata"}), "ownerReferences")
      .push_back(json::object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"name", "c"}, {"uid", json::key(other->uid())}});
  ASSERT_TRUE(world.client.update(kPods, "default", "p1", next, {}));
  world.settle();
  (void)world.client.remove(kReplicaSets, "default", "r", {});
  world.settle();
  ASSERT_TRUE(world.get(kPods, "default", "p1"));
  EXPECT_EQ(api::owner_references(world.get(kPods, "default", "p1")->value()).size(), 1u);
  EXPECT_FALSE(world.get(kPods, "default", "p2"));
}

class Nodes : public testing::Test {
 protected:
  World world;
  Options options;
  void SetUp() override {
    world.run(make_node_lifecycle_controller(world.context(), options), make_taint_eviction_controller(world.context()),
              make_node_ipam_controller(world.context(), options), make_pod_garbage_collector(world.context()));
  }
  void node(const std::string& name) {
    world.make(kNodes, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name + R"("},"spec":{},"status":{}})");
    beat(name);
  }
  void beat(const std::string& name, const std::string& ready = "True") {
    std::string now = format_time(world.clock.now());
    world.status(kNodes, "", name, R"({"conditions":[{"type":"Ready","status":")" + ready + R"(","lastHeartbeatTime":")" + now + R"(","lastTransitionTime":")" + now +
                                       R"("},{"type":"MemoryPressure","status":"False","lastHeartbeatTime":")" + now + R"("}]})");
    world.settle();
  }
  void pod(const std::string& name, const std::string& node, const std::string& tolerations = "[]") {
    world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","namespace":"default"},"spec":{"nodeName":")" + node + R"(","tolerations":)" + tolerations + "}}");
    world.status(kPods, "default", name, R"({"phase":"Running","conditions":[{"type":"Ready","status":"True"},{"type":"ContainersReady","status":"True"}]})");
    world.settle();
  }
  bool tainted(const std::string& name, std::string_view key, std::string_view effect) {
    for (const json::value& t : json::get_array(json::at(&world.get(kNodes, "", name)->value(), {"spec", "taints"})))
      if (string_at(t, {"key"}) == key && string_at(t, {"effect"}) == effect) return true;
    return false;
  }
};

TEST_F(Nodes, GetARangeOfAddresses) {
  node("a");
  node("b");
  std::set<std::string> ranges;
  for (const auto& n : world.list(kNodes)) ranges.insert(string_at(n->value(), {"spec", "podCIDR"}));
  EXPECT_EQ(ranges, (std::set<std::string>{"10.42.0.0/24", "10.42.1.0/24"}));
  (void)world.client.remove(kNodes, "", "a", {});
  world.settle();
  node("c");
  EXPECT_EQ(string_at(world.get(kNodes, "", "c")->value(), {"spec", "podCIDR"}), "10.42.0.0/24");
}

TEST_F(Nodes, SilentNodeIsUnknownItsPodsEvictedAndItComesBack) {
  node("a");
  node("b");
  pod("short", "a", R"([{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}])");
  pod("daemon", "a", R"([{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute"}])");
  pod("none", "a");
  for (int i = 0; i < 5; ++i) {
    world.advance(seconds(10));
    beat("b");
  }
  const json::value* ready = find_condition(world.get(kNodes, "", "a")->value(), "Ready");
  EXPECT_EQ(string_at(*ready, {"status"}), "Unknown");
  EXPECT_EQ(string_at(*ready, {"reason"}), "NodeStatusUnknown");
  EXPECT_EQ(string_at(*ready, {"message"}), "Kubelet stopped posting node status.");
  EXPECT_TRUE(tainted("a", "node.kubernetes.io/unreachable", "NoSchedule"));
  EXPECT_TRUE(tainted("a", "node.kubernetes.io/unreachable", "NoExecute"));
  EXPECT_FALSE(tainted("b", "node.kubernetes.io/unreachable", "NoSchedule"));
  EXPECT_FALSE(world.get(kPods, "default", "none"));
  EXPECT_FALSE(condition_is(world.get(kPods, "default", "daemon")->value(), "Ready"));
  // Back before the five minutes are over.
  beat("a");
  EXPECT_FALSE(tainted("a", "node.kubernetes.io/unreachable", "NoExecute"));
  EXPECT_TRUE(condition_is(world.get(kPods, "default", "daemon")->value(), "Ready"));
  EXPECT_TRUE(world.get(kPods, "default", "short"));
  // And now for good.
  for (int i = 0; i < 36; ++i) {
    world.advance(seconds(10));
    beat("b");
  }
  EXPECT_FALSE(world.get(kPods, "default", "short"));
  EXPECT_TRUE(world.get(kPods, "default", "daemon"));
  (void)world.client.remove(kNodes, "", "a", {});
  world.settle();
  world.advance(seconds(41));
  EXPECT_FALSE(world.get(kPods, "default", "daemon"));
}

TEST_F(Nodes, LeaseIsASignOfLife) {
  node("a");
  auto lease = world.make(kLeases, R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"a","namespace":"kube-node-lease"},"spec":{"renewTime":"0"}})");
  for (int i = 1; i < 10; ++i) {
    world.patch(kLeases, "kube-node-lease", "a", R"({"spec":{"renewTime":")" + std::to_string(i) + "\"}}");
    world.settle();
    world.advance(seconds(20));
  }
  EXPECT_TRUE(condition_is(world.get(kNodes, "", "a")->value(), "Ready"));
}

TEST_F(Nodes, WhenAllAreLostNobodyIsEvicted) {
  node("a");
  pod("p", "a");
  world.advance(seconds(100));
  EXPECT_TRUE(condition_is(world.get(kNodes, "", "a")->value(), "Ready", "Unknown"));
  EXPECT_TRUE(world.get(kPods, "default", "p"));
  EXPECT_TRUE(tainted("a", "node.kubernetes.io/unreachable", "NoSchedule"));
}

TEST_F(Nodes, ATaintThatIsTakenAwayCancelsTheEviction) {
  node("a");
  pod("p", "a", R"([{"key":"evict","operator":"Exists","effect":"NoExecute","tolerationSeconds":60}])");
  world.patch(kNodes, "", "a", R"({"spec":{"taints":[{"key":"evict","effect":"NoExecute"}]}})");
  world.settle();
  world.patch(kNodes, "", "a", R"({"spec":{"taints":[]}})");
  world.settle();
  beat("a");
  world.advance(seconds(20));
  beat("a");
  world.advance(seconds(39));
  beat("a");
  world.advance(seconds(10));
  EXPECT_TRUE(world.get(kPods, "default", "p"));
}

class Certificates : public testing::Test {
 protected:
  World world;
  auth::KeyPair ca = *auth::make_ca("ca", std::chrono::hours(1));
  void SetUp() override {
    Options options;
    options.ca_pem = ca.certificate_pem;
    options.ca_key_pem = ca.key_pem;
    world.run(make_csr_approver(world.context()), make_csr_signer(world.context(), options), make_csr_cleaner(world.context()));
  }
  void ask(const std::string& name, const std::string& signer, const std::string& user, const std::string& groups, const std::string& usages,
           const auth::CertificateRequest& request) {
    std::string csr = base64_encode(*auth::make_csr(*auth::make_key(), request));
    world.make(kCertificateSigningRequests, R"({"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":")" + name + R"("},"spec":{"request":")" + csr +
                                                R"(","signerName":")" + signer + R"(","username":")" + user + R"(","groups":)" + groups + R"(,"usages":)" + usages + "}}");
    world.settle();
  }
  std::string certificate(const std::string& name) { return string_at(world.get(kCertificateSigningRequests, "", name)->value(), {"status", "certificate"}); }
};

TEST_F(Certificates, BootstrappersGetTheirFirstOne) {
  ask("a", "kubernetes.io/kube-apiserver-client-kubelet", "system:bootstrap:abc", R"(["system:bootstrappers"])", R"(["client auth","digital signature"])",
      {.common_name = "system:node:n1", .organizations = {"system:nodes"}});
  auto parsed = auth::parse_certificate(base64_decode(certificate("a")).value_or(""));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->common_name, "system:node:n1");
  ask("b", "kubernetes.io/kube-apiserver-client-kubelet", "jane", R"(["system:authenticated"])", R"(["client auth","digital signature"])",
      {.common_name = "system:node:n1", .organizations = {"system:nodes"}});
  EXPECT_EQ(certificate("b"), "");
  ask("c", "kubernetes.io/kube-apiserver-client-kubelet", "system:bootstrap:abc", R"(["system:bootstrappers"])", R"(["client auth","digital signature"])",
      {.common_name = "system:admin", .organizations = {"system:masters"}});
  EXPECT_EQ(certificate("c"), "");
}

TEST_F(Certificates, ServingOnlyForOnesOwnNames) {
  world.make(kNodes, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.7"}]}})");
  const char* usages = R"(["server auth","digital signature"])";
  ask("own", "kubernetes.io/kubelet-serving", "system:node:n1", R"(["system:nodes"])", usages,
      {.common_name = "system:node:n1", .organizations = {"system:nodes"}, .dns_names = {"n1"}, .ip_addresses = {"192.0.2.7"}});
  EXPECT_NE(certificate("own"), "");
  ask("other", "kubernetes.io/kubelet-serving", "system:node:n1", R"(["system:nodes"])", usages,
      {.common_name = "system:node:n1", .organizations = {"system:nodes"}, .dns_names = {"kubernetes.default"}});
  EXPECT_EQ(certificate("other"), "");
  world.advance(std::chrono::hours(25));
  EXPECT_TRUE(world.list(kCertificateSigningRequests).empty());
}

TEST(BootstrapTokens, GoWhenTheyExpire) {
  World world;
  world.run(make_bootstrap_token_cleaner(world.context()));
  std::string due = base64_encode(format_time(world.clock.now() + seconds(100)));
  world.make(kSecrets, R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"bootstrap-token-x","namespace":"kube-system"},"type":"bootstrap.kubernetes.io/token","data":{"expiration":")" + due + "\"}}");
  world.settle();
  world.advance(seconds(50));
  EXPECT_EQ(world.list(kSecrets).size(), 1u);
  world.advance(seconds(51));
  EXPECT_TRUE(world.list(kSecrets).empty());
}

TEST(Quotas, CountWhatIsThere) {
  World world;
  world.run(make_resource_quota_controller(world.context()));
  world.make(kResourceQuotas, R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q","namespace":"default"},
    "spec":{"hard":{"pods":"5","requests.cpu":"2","limits.memory":"1Gi","services":"3","count/configmaps":"9","configmaps":"9","services.nodeports":"4"}}})");
  world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default"},"spec":{
    "initContainers":[{"name":"i","resources":{"requests":{"cpu":"700m"}}}],
    "containers":[{"name":"a","resources":{"requests":{"cpu":"250m"},"limits":{"memory":"64Mi"}}},{"name":"b","resources":{"requests":{"cpu":"250m"}}}]}})");
  world.make(kServices, R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s","namespace":"default"},"spec":{"type":"NodePort","ports":[{"port":1},{"port":2}]}})");
  world.make(kConfigMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"}})");
  world.settle();
  auto used = [&](const char* name) { return string_at(world.get(kResourceQuotas, "default", "q")->value(), {"status", "used", name}); };
  EXPECT_EQ(used("pods"), "1");
  EXPECT_EQ(used("requests.cpu"), "700m");
  EXPECT_EQ(used("limits.memory"), "64Mi");
  EXPECT_EQ(used("services"), "1");
  EXPECT_EQ(used("services.nodeports"), "2");
  EXPECT_EQ(used("configmaps"), "1");
  EXPECT_EQ(used("count/configmaps"), "1");
  world.status(kPods, "default", "p", R"({"phase":"Succeeded"})");
  world.settle();
  EXPECT_EQ(used("pods"), "0");
}

TEST(Budgets, SayHowManyMayGo) {
  World world;
  world.run(make_disruption_controller(world.context()), make_replica_set_controller(world.context()));
  world.make(kReplicaSets, R"({"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"web","namespace":"default"},"spec":{"replicas":4,
    "selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[]}}}})");
  world.make(kPodDisruptionBudgets, R"({"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"b","namespace":"default"},
    "spec":{"maxUnavailable":"25%","selector":{"matchLabels":{"app":"web"}}}})");
  world.settle();
  auto status = [&](const char* name) { return json::get_int(world.get(kPodDisruptionBudgets, "default", "b")->value(), {"status", name}); };
  EXPECT_EQ(status("disruptionsAllowed"), 0);
  world.run_pods();
  EXPECT_EQ(status("expectedPods"), 4);
  EXPECT_EQ(status("desiredHealthy"), 3);
  EXPECT_EQ(status("currentHealthy"), 4);
  EXPECT_EQ(status("disruptionsAllowed"), 1);
  EXPECT_TRUE(condition_is(world.get(kPodDisruptionBudgets, "default", "b")->value(), "DisruptionAllowed"));
}

TEST(Volumes, AreProvisionedWhereThePodGoesAndTakenBack) {
  World world;
  Options options;
  std::string removed;
  options.remove_local_path = [&](const std::string& node, const std::string& path) {
    removed = node + ":" + path;
    return Result<void>();
  };
  world.run(make_volume_binder(world.context()), make_local_path_provisioner(world.context(), options), make_volume_protection_controller(world.context()));
  ASSERT_TRUE(world.get(kStorageClasses, "", "local-path"));
  world.make(kPersistentVolumeClaims, R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c","namespace":"default"},
    "spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})");
  world.settle();
  auto claim = [&] { return world.get(kPersistentVolumeClaims, "default", "c"); };
  EXPECT_EQ(string_at(claim()->value(), {"status", "phase"}), "Pending");
  EXPECT_EQ(string_at(claim()->value(), {"spec", "storageClassName"}), "local-path");
  world.patch(kPersistentVolumeClaims, "default", "c", R"({"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"n1"}}})");
  world.settle();
  EXPECT_EQ(string_at(claim()->value(), {"status", "phase"}), "Bound");
  EXPECT_EQ(string_at(claim()->value(), {"status", "capacity", "storage"}), "1Gi");
  ASSERT_EQ(world.list(kPersistentVolumes).size(), 1u);
  EXPECT_EQ(string_at(world.list(kPersistentVolumes)[0]->value(), {"status", "phase"}), "Bound");

  world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default"},"spec":{"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]}})");
  world.settle();
  (void)world.client.remove(kPersistentVolumeClaims, "default", "c", {});
  world.settle();
  EXPECT_TRUE(claim()) << "a pod uses it";
  world.client.finish_deletion(kPods, "default", "p");
  world.settle();
  EXPECT_FALSE(claim());
  EXPECT_TRUE(world.list(kPersistentVolumes).empty());
  EXPECT_TRUE(removed.starts_with("n1:/var/lib/kcube/storage/pvc-")) << removed;
}

TEST(Volumes, TheSmallestThatFitsIsChosenAndKept) {
  World world;
  world.run(make_volume_binder(world.context()), make_volume_protection_controller(world.context()));
  for (const char* size : {"5Gi", "2Gi", "1Gi"})
    world.make(kPersistentVolumes, R"({"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"v-)" + to_lower(size) + R"("},"spec":{"capacity":{"storage":")" + size +
                                       R"("},"accessModes":["ReadWriteOnce"],"persistentVolumeReclaimPolicy":"Retain","storageClassName":""}})");
  world.make(kPersistentVolumeClaims, R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c","namespace":"default"},
    "spec":{"storageClassName":"","accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1500Mi"}}}})");
  world.settle();
  EXPECT_EQ(string_at(world.get(kPersistentVolumeClaims, "default", "c")->value(), {"spec", "volumeName"}), "v-2gi");
  EXPECT_EQ(string_at(world.get(kPersistentVolumes, "", "v-1gi")->value(), {"status", "phase"}), "Available");
  (void)world.client.remove(kPersistentVolumeClaims, "default", "c", {});
  world.settle();
  EXPECT_EQ(string_at(world.get(kPersistentVolumes, "", "v-2gi")->value(), {"status", "phase"}), "Released");
}

TEST(Volumes, AClassOfAttributesStaysAsLongAsItIsNamed) {
  World world;
  world.run(make_volume_protection_controller(world.context()));
  for (const char* name : {"used", "free"})
    world.make(kVolumeAttributesClasses, R"({"apiVersion":"storage.k8s.io/v1","kind":"VolumeAttributesClass","metadata":{"name":")" + std::string(name) +
                                             R"(","finalizers":["kubernetes.io/vac-protection"]},"driverName":"d"})");
  world.make(kPersistentVolumeClaims, R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c","namespace":"default"},
    "spec":{"volumeAttributesClassName":"used","accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})");
  world.settle();
  for (const char* name : {"used", "free"}) (void)world.client.remove(kVolumeAttributesClasses, "", name, {});
  world.settle();
  EXPECT_FALSE(world.get(kVolumeAttributesClasses, "", "free"));
  ASSERT_TRUE(world.get(kVolumeAttributesClasses, "", "used"));
  world.patch(kPersistentVolumeClaims, "default", "c", R"({"spec":{"volumeAttributesClassName":"free"}})");
  world.settle();
  EXPECT_FALSE(world.get(kVolumeAttributesClasses, "", "used"));
}

TEST(LoadBalancers, GetTheNodesAddresses) {
  World world;
  world.run(make_service_lb_controller(world.context()));
  world.make(kNodes, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.7"}],"conditions":[{"type":"Ready","status":"True"}]}})");
  world.make(kServices, R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s","namespace":"default"},"spec":{"type":"LoadBalancer","ports":[{"port":80}]}})");
  world.settle();
  const json::array& ingress = json::get_array(json::at(&world.get(kServices, "default", "s")->value(), {"status", "loadBalancer", "ingress"}));
  ASSERT_EQ(ingress.size(), 1u);
  EXPECT_EQ(string_at(ingress[0], {"ip"}), "192.0.2.7");
  world.patch(kServices, "default", "s", R"({"spec":{"type":"ClusterIP"}})");
  world.settle();
  EXPECT_TRUE(json::get_array(json::at(&world.get(kServices, "default", "s")->value(), {"status", "loadBalancer", "ingress"})).empty());
}

TEST(ClusterRoles, AggregateTheRulesOfOthers) {
  World world;
  const api::GroupVersionResource roles{"rbac.authorization.k8s.io", "v1", "clusterroles"};
  world.run(make_cluster_role_aggregation_controller(world.context()));
  world.make(roles, R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"all"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"to":"all"}}]},"rules":[]})");
  world.make(roles, R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"part","labels":{"to":"all"}},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]})");
  world.settle();
  EXPECT_EQ(json::get_array(json::find(&world.get(roles, "", "all")->value(), "rules")).size(), 1u);
}

TEST(ControllerSet, StartsAndStops) {
  SimulatedClock clock;
  FakeClient client(clock);
  Options options;
  auto ca = *auth::make_ca("ca", std::chrono::hours(1));
  options.ca_pem = ca.certificate_pem;
  options.ca_key_pem = ca.key_pem;
  options.disabled = {"cronjob"};
  auto set = ControllerSet::create(client, clock, options);
  set->start();
  json::object ns{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", json::object{{"name", "a"}}}};
  ASSERT_TRUE(client.create(kNamespaces, "", ns, {}, {}));
  // On threads of its own the set tells nobody when it is through: its work is looked for, with a bound.
  auto until = std::chrono::steady_clock::now() + seconds(30);
  while (!client.get(kServiceAccounts, "a", "default") && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(client.get(kServiceAccounts, "a", "default"));
  set->stop();
}

}  // namespace
}  // namespace kcube::controllers
