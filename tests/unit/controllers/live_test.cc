// The whole set on the real API server, in process: what controllers write must be what the server takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "pkg/apiserver/apiserver.h"
#include "pkg/auth/auth.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/client/informer.h"
#include "pkg/controllers/set.h"
#include "pkg/controllers/support.h"
#include "pkg/store/store.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

// Counts what the controllers ask for, so that a test can see that they are at rest.
class CountingClient final : public client::Client {
 public:
  explicit CountingClient(client::Client& inner) : inner_(inner) {}
  Result<api::ObjectPtr> get(const api::GroupVersionResource& r, std::string_view ns, std::string_view name) override { return inner_.get(r, ns, name); }
  Result<client::ObjectList> list(const api::GroupVersionResource& r, std::string_view ns, const client::ListOptions& o) override { return inner_.list(r, ns, o); }
  Result<api::ObjectPtr> create(const api::GroupVersionResource& r, std::string_view ns, const json::value& v, std::string_view sub, std::string_view name) override {
    return count("create", r), inner_.create(r, ns, v, sub, name);
  }
  Result<api::ObjectPtr> update(const api::GroupVersionResource& r, std::string_view ns, std::string_view name, const json::value& v, std::string_view sub) override {
    return count("update " + std::string(sub), r), inner_.update(r, ns, name, v, sub);
  }
  Result<api::ObjectPtr> patch(const api::GroupVersionResource& r, std::string_view ns, std::string_view name, client::PatchType t, const json::value& v, std::string_view sub) override {
    return count("patch", r), inner_.patch(r, ns, name, t, v, sub);
  }
  Result<void> remove(const api::GroupVersionResource& r, std::string_view ns, std::string_view name, const client::DeleteOptions& o) override {
    return count("delete", r), inner_.remove(r, ns, name, o);
  }
  Result<std::unique_ptr<client::Watch>> watch(const api::GroupVersionResource& r, std::string_view ns, const client::ListOptions& o, std::function<void(const client::WatchEvent&)> sink) override {
    return inner_.watch(r, ns, o, std::move(sink));
  }
  std::map<std::string, int> counts() {
    std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  void count(const std::string& verb, const api::GroupVersionResource& r) {
    std::lock_guard lock(mutex_);
    ++counts_[verb + " " + r.group_resource()];
  }
  client::Client& inner_;
  std::mutex mutex_;
  std::map<std::string, int> counts_;
};

class Live : public testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("KCUBE_TEST_LOG")) log::set_level(log::Level::info);  // to see what is tried again
    char pattern[] = "/tmp/kc-controllers-XXXXXX";
    directory_ = mkdtemp(pattern);
    auto store = store::open_sqlite({.path = directory_ + "/store.db"});
    ASSERT_TRUE(store) << store.error().message();
    store_ = std::move(*store);
    auto ca = *auth::make_ca("ca", std::chrono::hours(1));
    auto serving = *auth::issue(ca, {.common_name = "kube-apiserver", .ip_addresses = {"127.0.0.1"}, .server = true});
    apiserver::Options options;
    options.address = "127.0.0.1";
    options.port = 0;
    options.advertise_address = "127.0.0.1";
    options.tls.certificate_pem = serving.certificate_pem;
    options.tls.key_pem = serving.key_pem;
    options.tls.client_ca_pem = ca.certificate_pem;
    options.ca_pem = ca.certificate_pem;
    options.service_account_key_pem = *auth::make_key();
    auto server = apiserver::Server::create(options, *store_, RealClock::instance());
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
    ASSERT_TRUE(server_->start());
    client_ = client::local_client(server_->local(), "system:kube-controller-manager", {"system:masters", "system:authenticated"});
    Options set;
    set.ca_pem = ca.certificate_pem;
    set.ca_key_pem = ca.key_pem;
    counting_ = std::make_unique<CountingClient>(*client_);
    set_ = ControllerSet::create(*counting_, RealClock::instance(), set);
    set_->start();
  }
  void TearDown() override {
    if (set_) set_->stop();
    set_.reset();
    if (server_) server_->stop();
    server_.reset();
    store_.reset();
    std::system(("rm -rf " + directory_).c_str());
  }

  bool eventually(const std::function<bool()>& what) {
    auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!what()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }
  api::ObjectPtr make(const api::GroupVersionResource& resource, std::string_view ns, std::string_view text) {
    auto made = client_->create(resource, ns, *json::parse(text));
    EXPECT_TRUE(made) << made.error().message();
    return made ? *made : nullptr;
  }
  api::ObjectPtr get(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name) {
    auto r = client_->get(resource, ns, name);
    return r ? *r : nullptr;
  }
  std::vector<api::ObjectPtr> list(const api::GroupVersionResource& resource, std::string_view ns) { return client_->list(resource, ns)->items; }
  int64_t number(const api::GroupVersionResource& resource, std::string_view name, std::initializer_list<std::string_view> path) {
    auto object = get(resource, "default", name);
    return object ? json::get_int(object->value(), path) : -1;
  }
  // What a kubelet would do: pods run, and stop when asked.
  void play_kubelet() {
    for (const auto& pod : list(kPods, {})) {
      if (pod->deleting()) {
        (void)client_->remove(kPods, pod->namespace_(), pod->name(), {.grace_period_seconds = 0});
        continue;
      }
      if (!json::get_string(pod->value(), {"status", "podIP"}).empty()) continue;
      json::value next(pod->value());
      bool job = api::controller_of(next).kind == "Job";
      json::object& status = json::ensure_path(next, {"status"});
      status["phase"] = job ? "Succeeded" : "Running";
      status["podIP"] = "10.42.0.9";
      status["podIPs"] = json::array{json::object{{"ip", "10.42.0.9"}}};
      status["conditions"] = json::array{json::object{{"type", "Ready"}, {"status", "True"}, {"lastTransitionTime", json::key(format_time(RealClock::instance().now()))}}};
      (void)client_->update(kPods, pod->namespace_(), pod->name(), next, "status");
    }
  }
  bool played(const std::function<bool()>& what) {
    return eventually([&] {
      play_kubelet();
      return what();
    });
  }

  std::string directory_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<apiserver::Server> server_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<CountingClient> counting_;
  std::unique_ptr<ControllerSet> set_;
};

const char* kTemplate = R"("selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"v1"}]}})";

TEST_F(Live, NamespacesGetTheirContentAndLoseIt) {
  ASSERT_TRUE(eventually([&] { return get(kServiceAccounts, "default", "default") && get(kConfigMaps, "default", "kube-root-ca.crt"); }));
  make(kNamespaces, "", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"},"spec":{"finalizers":["kubernetes"]}})");
  ASSERT_TRUE(eventually([&] { return get(kServiceAccounts, "a", "default") && get(kConfigMaps, "a", "kube-root-ca.crt"); }));
  make(kConfigMaps, "a", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}})");
  ASSERT_TRUE(client_->remove(kNamespaces, "", "a"));
  EXPECT_TRUE(eventually([&] { return !get(kNamespaces, "", "a"); }));
  EXPECT_TRUE(list(kConfigMaps, "a").empty());
}

TEST_F(Live, ADeploymentRollsAndIsCollected) {
  ASSERT_TRUE(eventually([&] { return get(kServiceAccounts, "default", "default") != nullptr; }));
  make(kDeployments, "default", std::string(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":3,)") + kTemplate + "}}");
  make(kServices, "default", R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"port":80}]}})");
  ASSERT_TRUE(played([&] { return number(kDeployments, "web", {"status", "availableReplicas"}) == 3; }));
  EXPECT_TRUE(eventually([&] {
    auto e = get(kEndpoints, "default", "web");
    return e && !json::get_array(json::find(&e->value(), "subsets")).empty();
  }));
  EXPECT_TRUE(eventually([&] {
    size_t n = 0;
    for (const auto& slice : list(kEndpointSlices, "default"))
      if (slice->label("kubernetes.io/service-name") == "web") n += json::get_array(json::find(&slice->value(), "endpoints")).size();
    return n == 3;
  }));
  auto patched = client_->patch(kDeployments, "default", "web", client::PatchType::strategic,
                                *json::parse(R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"v2"}]}}}})"));
  ASSERT_TRUE(patched) << patched.error().message();
  const int64_t generation = json::get_int((*patched)->value(), {"metadata", "generation"});
  ASSERT_TRUE(played([&] {
    auto d = get(kDeployments, "default", "web");
    return number(kDeployments, "web", {"status", "updatedReplicas"}) == 3 && number(kDeployments, "web", {"status", "replicas"}) == 3 &&
           json::get_int(d->value(), {"status", "observedGeneration"}) >= generation && number(kDeployments, "web", {"status", "availableReplicas"}) == 3;
  }));
  EXPECT_EQ(list(kReplicaSets, "default").size(), 2u);
  auto d = get(kDeployments, "default", "web");
  EXPECT_EQ(string_at(d->value(), {"metadata", "annotations", "deployment.kubernetes.io/revision"}), "2");
  ASSERT_TRUE(client_->remove(kDeployments, "default", "web", {.propagation = "Foreground"}));
  EXPECT_TRUE(played([&] { return list(kPods, "default").empty() && list(kReplicaSets, "default").empty() && !get(kDeployments, "default", "web"); }));
}

TEST_F(Live, JobsCompleteAndSetsRun) {
  ASSERT_TRUE(eventually([&] { return get(kServiceAccounts, "default", "default") != nullptr; }));
  make(kJobs, "default", R"({"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j"},"spec":{"completions":3,"parallelism":2,"completionMode":"Indexed",
    "template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"v1"}]}}}})");
  EXPECT_TRUE(played([&] {
    auto j = get(kJobs, "default", "j");
    return condition_is(j->value(), "Complete") && json::get_string(j->value(), {"status", "completedIndexes"}) == "0-2";
  })) << get(kJobs, "default", "j")->bytes();
  make(kStatefulSets, "default", std::string(R"({"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"s"},"spec":{"replicas":2,"serviceName":"s",)") + kTemplate + "}}");
  EXPECT_TRUE(played([&] { return number(kStatefulSets, "s", {"status", "readyReplicas"}) == 2; })) << get(kStatefulSets, "default", "s")->bytes();
  make(kNodes, "", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}})");
  make(kDaemonSets, "default", R"({"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"app":"d"}},
    "template":{"metadata":{"labels":{"app":"d"}},"spec":{"tolerations":[{"operator":"Exists"}],"containers":[{"name":"c","image":"v1"}]}}}})");
  EXPECT_TRUE(played([&] { return number(kDaemonSets, "d", {"status", "numberReady"}) == 1; })) << get(kDaemonSets, "default", "d")->bytes();
  EXPECT_TRUE(eventually([&] { return !string_at(get(kNodes, "", "n1")->value(), {"spec", "podCIDR"}).empty(); }));
  ASSERT_TRUE(client_->remove(kJobs, "default", "j", {.propagation = "Background"}));
  EXPECT_TRUE(played([&] {
    return std::ranges::none_of(list(kPods, "default"), [](const auto& p) { return api::controller_of(p->value()).kind == "Job"; });
  }));
}

TEST_F(Live, DISABLED_NothingIsWrittenWhenNothingHappens) {
  ASSERT_TRUE(eventually([&] { return get(kServiceAccounts, "default", "default") != nullptr; }));
  make(kNodes, "", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}})");
  make(kDeployments, "default", std::string(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":20,)") + kTemplate + "}}");
  make(kServices, "default", R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"type":"LoadBalancer","selector":{"app":"web"},"ports":[{"port":80}]}})");
  make(kStatefulSets, "default", R"({"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"s"},"spec":{"replicas":2,"serviceName":"s","selector":{"matchLabels":{"app":"s"}},
    "template":{"metadata":{"labels":{"app":"s"}},"spec":{"containers":[{"name":"c","image":"v1"}]}}}})");
  make(kDaemonSets, "default", R"({"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"app":"d"}},
    "template":{"metadata":{"labels":{"app":"d"}},"spec":{"tolerations":[{"operator":"Exists"}],"containers":[{"name":"c","image":"v1"}]}}}})");
  make(kJobs, "default", R"({"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j"},"spec":{"completions":3,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"v1"}]}}}})");
  make(kCronJobs, "default", R"({"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"c"},"spec":{"schedule":"0 0 1 1 *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"v1"}]}}}}}})");
  make(kReplicationControllers, "default", R"({"apiVersion":"v1","kind":"ReplicationController","metadata":{"name":"rc"},"spec":{"replicas":1,"selector":{"app":"rc"},
    "template":{"metadata":{"labels":{"app":"rc"}},"spec":{"containers":[{"name":"c","image":"v1"}]}}}})");
  make(kResourceQuotas, "default", R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"pods":"100","requests.cpu":"3000m"}}})");
  make(kPodDisruptionBudgets, "default", R"({"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"b"},"spec":{"maxUnavailable":"10%","selector":{"matchLabels":{"app":"web"}}}})");
  make(kPersistentVolumes, "", R"({"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"v"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"}}})");
  make(kPersistentVolumeClaims, "default", R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})");
  ASSERT_TRUE(played([&] { return number(kDeployments, "web", {"status", "availableReplicas"}) == 20 && number(kStatefulSets, "s", {"status", "readyReplicas"}) == 2 &&
                                  condition_is(get(kJobs, "default", "j")->value(), "Complete"); }));
  // Two looks with the same counts, some time apart: whoever writes in a circle does so every few milliseconds.
  std::map<std::string, int> before;
  EXPECT_TRUE(eventually([&] {
    before = counting_->counts();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    return counting_->counts() == before;
  }));
  for (const auto& [what, count] : counting_->counts())
    if (std::getenv("KCUBE_TEST_LOG")) std::printf("%6d %s\n", count, what.c_str());
}

TEST_F(Live, ClaimsAreBoundToALocalDirectory) {
  ASSERT_TRUE(eventually([&] { return get({"storage.k8s.io", "v1", "storageclasses"}, "", "local-path") != nullptr; }));
  make(kPersistentVolumeClaims, "default", R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c","annotations":{"volume.kubernetes.io/selected-node":"n1"}},
    "spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"local-path","resources":{"requests":{"storage":"1Gi"}}}})");
  EXPECT_TRUE(eventually([&] { return json::get_string(get(kPersistentVolumeClaims, "default", "c")->value(), {"status", "phase"}) == "Bound"; }))
      << get(kPersistentVolumeClaims, "default", "c")->bytes();
  ASSERT_TRUE(client_->remove(kPersistentVolumeClaims, "default", "c"));
  EXPECT_TRUE(eventually([&] { return !get(kPersistentVolumeClaims, "default", "c") && list(kPersistentVolumes, {}).empty(); }));
}

TEST_F(Live, CertificatesAreApprovedAndSigned) {
  auto csr = *auth::make_csr(*auth::make_key(), {.common_name = "system:node:n1", .organizations = {"system:nodes"}});
  auto bootstrapper = client::local_client(server_->local(), "system:bootstrap:abcdef", {"system:bootstrappers", "system:authenticated"});
  json::object spec{{"request", json::key(base64_encode(csr))}, {"signerName", "kubernetes.io/kube-apiserver-client-kubelet"}, {"usages", json::array{"client auth", "digital signature"}}};
  auto made = bootstrapper->create(kCertificateSigningRequests, "",
                                   json::object{{"apiVersion", "certificates.k8s.io/v1"}, {"kind", "CertificateSigningRequest"}, {"metadata", json::object{{"name", "c"}}}, {"spec", std::move(spec)}});
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_TRUE(eventually([&] { return !json::get_string(get(kCertificateSigningRequests, "", "c")->value(), {"status", "certificate"}).empty(); }))
      << get(kCertificateSigningRequests, "", "c")->bytes();
}

TEST_F(Live, BudgetsAndQuotasAreCounted) {
  ASSERT_TRUE(eventually([&] { return get(kServiceAccounts, "default", "default") != nullptr; }));
  make(kResourceQuotas, "default", R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"pods":"10","count/configmaps":"10"}}})");
  make(kPodDisruptionBudgets, "default", R"({"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"web"}}}})");
  make(kReplicaSets, "default", std::string(R"({"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"r"},"spec":{"replicas":2,)") + kTemplate + "}}");
  EXPECT_TRUE(played([&] { return number(kPodDisruptionBudgets, "b", {"status", "disruptionsAllowed"}) == 1; })) << get(kPodDisruptionBudgets, "default", "b")->bytes();
  EXPECT_TRUE(eventually([&] { return string_at(get(kResourceQuotas, "default", "q")->value(), {"status", "used", "pods"}) == "2"; })) << get(kResourceQuotas, "default", "q")->bytes();
}

}  // namespace
}  // namespace kcube::controllers
