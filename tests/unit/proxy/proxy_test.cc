// Services, EndpointSlices and Nodes of an API server in memory, and what the network is told.
#include "pkg/proxy/proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <condition_variable>

#include "tests/unit/proxy/fake_cluster.h"

namespace kcube::proxy {
namespace {

// Remembers what it was told.
class FakeNetwork final : public net::NodeNetwork {
 public:
  Result<std::vector<std::string>> attach(net::AttachRequest) override { return std::vector<std::string>{}; }
  Result<void> detach(const std::string&) override { return {}; }
  std::vector<std::string> attached() override { return {}; }
  Result<void> set_peers(const std::vector<net::Peer>& peers) override {
    std::lock_guard lock(mutex);
    peers_seen.clear();
    for (const net::Peer& p : peers) peers_seen[p.node_name] = p.node_ip + " " + p.pod_cidr;
    changed.notify_all();
    return {};
  }
  Result<void> set_service(const net::ServicePort& s) override { return batch({s}, {}); }
  Result<void> remove_service(const std::string& key) override { return batch({}, {key}); }
  Result<void> batch(const std::vector<net::ServicePort>& set, const std::vector<std::string>& remove) override {
    std::lock_guard lock(mutex);
    if (failures > 0) {
      --failures;
      return fail(Status::internal("the kernel is busy"));
    }
    ++batches;
    for (const std::string& key : remove) services.erase(key);
    for (const net::ServicePort& s : set) services[s.key] = s;
    changed.notify_all();
    return {};
  }
  std::string gateway() const override { return "10.42.0.1"; }

  template <typename Condition>
  bool eventually(Condition condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), condition);
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, net::ServicePort> services;
  std::map<std::string, std::string> peers_seen;
  int batches = 0, failures = 0;
};

std::string service(const std::string& name, const std::string& ip, const std::string& more = "") {
  return R"({"kind":"Service","apiVersion":"v1","metadata":{"name":")" + name +
         R"(","namespace":"default"},"spec":{"type":"ClusterIP","clusterIP":")" + ip + R"(","clusterIPs":[")" + ip +
         R"("],"ports":[{"name":"http","protocol":"TCP","port":80}])" + more + "}}";
}

std::string slice(const std::string& name, const std::string& of, const std::string& endpoints,
                  const std::string& ports = R"([{"name":"http","protocol":"TCP","port":8080}])") {
  return R"({"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":")" + name +
         R"(","namespace":"default","labels":{"kubernetes.io/service-name":")" + of +
         R"("}},"addressType":"IPv4","ports":)" + ports + R"(,"endpoints":)" + endpoints + "}";
}

std::string node(const std::string& name, const std::string& ip, const std::string& cidr,
                 const std::string& zone = "") {
  return R"({"kind":"Node","apiVersion":"v1","metadata":{"name":")" + name +
         R"(","labels":{"topology.kubernetes.io/zone":")" + zone + R"("}},"spec":{"podCIDR":")" + cidr +
         R"("},"status":{"addresses":[{"type":"Hostname","address":"h"},{"type":"InternalIP","address":"fd00::1"},{"type":"InternalIP","address":")" +
         ip + R"("},{"type":"InternalIP","address":"192.0.2.99"}]}})";
}

class ProxyTest : public testing::Test {
 protected:
  void start() {
    proxy = Proxy::create(cluster, network, RealClock::instance(), {.node_name = "one", .dns_vip = "10.43.0.10"});
    ASSERT_TRUE(proxy->start());
  }
  void TearDown() override {
    if (proxy) proxy->stop();
  }
  std::vector<std::string> endpoints(const std::string& key) {
    std::vector<std::string> out;
    for (const net::Endpoint& e : network.services[key].endpoints)
      out.push_back(e.ip + ":" + std::to_string(e.port) + (e.local ? " local" : ""));
    return out;
  }
  test::FakeCluster cluster;
  FakeNetwork network;
  std::unique_ptr<Proxy> proxy;
};

using Strings = std::vector<std::string>;

TEST_F(ProxyTest, LoadsEverythingInOneBatch) {
  cluster.put(service("web", "10.43.0.5"));
  cluster.put(service("none", "10.43.0.6"));
  cluster.put(service("headless", "None"));
  cluster.put(service("dns", "10.43.0.10"));
  cluster.put(service("by-name", "", R"(,"type":"ExternalName","externalName":"example.org")"));
  cluster.put(slice(
      "web-1", "web",
      R"([{"addresses":["10.42.0.5"],"nodeName":"one","conditions":{"ready":true}},{"addresses":["10.42.1.5"],"nodeName":"two","conditions":{}}])"));
  cluster.put(slice("web-2", "web", R"([{"addresses":["10.42.1.6"],"nodeName":"two","conditions":{"ready":false}}])"));
  cluster.put(node("one", "198.51.100.1", "10.42.0.0/24"));
  cluster.put(node("two", "198.51.100.2", "10.42.1.0/24"));
  start();
  EXPECT_EQ(network.batches, 1);
  ASSERT_EQ(network.services.size(), 2u);
  EXPECT_EQ(endpoints("default/web:http"), (Strings{"10.42.0.5:8080 local", "10.42.1.5:8080"}));
  EXPECT_EQ(network.services["default/web:http"].cluster_ips, Strings{"10.43.0.5"});
  EXPECT_TRUE(endpoints("default/none:http").empty());
  EXPECT_TRUE(network.eventually([&] {
    return network.peers_seen == std::map<std::string, std::string>{{"two", "198.51.100.2 10.42.1.0/24"}};
  }));
}

TEST_F(ProxyTest, FollowsChanges) {
  start();
  cluster.put(service("web", "10.43.0.5"));
  ASSERT_TRUE(network.eventually([&] { return network.services.contains("default/web:http"); }));
  cluster.put(slice("web-1", "web", R"([{"addresses":["10.42.0.5"],"conditions":{"ready":true}}])"));
  ASSERT_TRUE(network.eventually([&] { return endpoints("default/web:http") == Strings{"10.42.0.5:8080"}; }));
  cluster.put(slice("web-2", "web", R"([{"addresses":["10.42.0.6"],"conditions":{"ready":true}}])",
                    R"([{"name":"http","protocol":"TCP","port":9090}])"));
  ASSERT_TRUE(network.eventually([&] {
    return endpoints("default/web:http") == Strings{"10.42.0.5:8080", "10.42.0.6:9090"};
  }));
  cluster.remove("endpointslices", "default/web-1");
  ASSERT_TRUE(network.eventually([&] { return endpoints("default/web:http") == Strings{"10.42.0.6:9090"}; }));
  cluster.remove("services", "default/web");
  ASSERT_TRUE(network.eventually([&] { return network.services.empty(); }));
  cluster.put(node("two", "198.51.100.2", "10.42.1.0/24"));
  ASSERT_TRUE(network.eventually([&] { return network.peers_seen.size() == 1; }));
  cluster.remove("nodes", "two");
  ASSERT_TRUE(network.eventually([&] { return network.peers_seen.empty(); }));
}

TEST_F(ProxyTest, TriesAgainWhenTheKernelRefuses) {
  start();
  {
    std::lock_guard lock(network.mutex);
    network.failures = 2;
  }
  cluster.put(service("web", "10.43.0.5"));
  EXPECT_TRUE(network.eventually([&] { return network.services.contains("default/web:http"); }));
}

TEST_F(ProxyTest, EndingEndpointsServeOnlyWhenNoneIsReady) {
  cluster.put(service("web", "10.43.0.5"));
  std::string ending = R"({"addresses":["10.42.0.7"],"conditions":{"ready":false,"serving":true,"terminating":true}})",
              failing =
                  R"({"addresses":["10.42.0.8"],"conditions":{"ready":false,"serving":false,"terminating":true}})";
  cluster.put(slice("web-1", "web",
                    R"([{"addresses":["10.42.0.5"],"conditions":{"ready":true}},)" + ending + "," + failing + "]"));
  start();
  EXPECT_EQ(endpoints("default/web:http"), Strings{"10.42.0.5:8080"});
  cluster.put(slice("web-1", "web", "[" + ending + "," + failing + "]"));
  EXPECT_TRUE(network.eventually([&] { return endpoints("default/web:http") == Strings{"10.42.0.7:8080"}; }));
}

TEST_F(ProxyTest, ReadsPortsPoliciesAndAffinity) {
  cluster.put(
      R"({"kind":"Service","apiVersion":"v1","metadata":{"name":"lb","namespace":"default"},"spec":{"type":"LoadBalancer","clusterIP":"10.43.0.7","clusterIPs":["10.43.0.7"],
    "externalIPs":["203.0.113.1"],"loadBalancerSourceRanges":["192.0.2.0/24"," 198.51.100.0/24 "],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}},"internalTrafficPolicy":"Local","externalTrafficPolicy":"Local",
    "ports":[{"name":"a","protocol":"TCP","port":80,"nodePort":30080},{"name":"b","protocol":"UDP","port":53,"nodePort":30053}]},
    "status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.2"},{"ip":"203.0.113.3","ipMode":"Proxy"},{"hostname":"x"}]}}})");
  cluster.put(slice("lb-1", "lb", R"([{"addresses":["10.42.0.5"],"nodeName":"one"}])",
                    R"([{"name":"a","protocol":"TCP","port":1},{"name":"b","protocol":"UDP","port":2}])"));
  start();
  const net::ServicePort &a = network.services["default/lb:a"], &b = network.services["default/lb:b"];
  EXPECT_EQ(a.external_ips, Strings{"203.0.113.1"});
  EXPECT_EQ(a.load_balancer_ips, Strings{"203.0.113.2"});
  EXPECT_EQ(a.source_ranges, (Strings{"192.0.2.0/24", "198.51.100.0/24"}));
  EXPECT_EQ(a.node_port, 30080);
  EXPECT_EQ(a.affinity_seconds, 60u);
  EXPECT_TRUE(a.internal_local && a.external_local);
  EXPECT_EQ(b.protocol, net::Protocol::udp);
  EXPECT_EQ(b.port, 53);
  EXPECT_EQ(endpoints("default/lb:a"), Strings{"10.42.0.5:1 local"});
  EXPECT_EQ(endpoints("default/lb:b"), Strings{"10.42.0.5:2 local"});
}

// The status line's code, or "refused".
std::string http_status(uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return "refused";
  std::string request = "GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n", answer;
  ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
  char buffer[4096];
  for (ssize_t n; (n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, static_cast<size_t>(n));
  return answer.size() < 12 ? answer : answer.substr(9, 3);
}

uint16_t free_port() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in any{};
  any.sin_family = AF_INET;
  socklen_t size = sizeof any;
  ::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any);
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&any), &size);
  return ntohs(any.sin_port);
}

TEST_F(ProxyTest, TellsLoadBalancersWhetherThisNodeServes) {
  uint16_t port = free_port();
  std::string lb =
      R"(,"type":"LoadBalancer","externalTrafficPolicy":"Local","healthCheckNodePort":)" + std::to_string(port);
  auto eventually_says = [&](const std::string& wanted) {
    auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < until)
      if (http_status(port) == wanted) return true;
    return false;
  };
  cluster.put(service("lb", "10.43.0.5", lb));
  cluster.put(slice("lb-1", "lb", R"([{"addresses":["10.42.0.5"],"nodeName":"one"}])"));
  start();
  EXPECT_TRUE(eventually_says("200"));
  cluster.put(slice("lb-1", "lb", R"([{"addresses":["10.42.0.5"],"nodeName":"two"}])"));
  EXPECT_TRUE(eventually_says("503"));
  cluster.put(service("lb", "10.43.0.5"));
  EXPECT_TRUE(eventually_says("refused"));
}

TEST_F(ProxyTest, OneRefusedLoadKeepsNobodyOut) {
  network.failures = 1;
  cluster.put(service("web", "10.43.0.5"));
  cluster.put(service("web2", "10.43.0.6"));
  start();
  EXPECT_TRUE(network.eventually([&] { return network.services.size() == 2; }));
}

TEST_F(ProxyTest, LeavesServicesOfOtherProxiesAlone) {
  for (const char* label : {"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"}) {
    std::string s = service("other", "10.43.0.5");
    s.replace(s.find("\"namespace\""), 0, "\"labels\":{\"" + std::string(label) + "\":\"\"},");
    cluster.put(s);
    start();
    EXPECT_TRUE(network.services.empty()) << label;
    proxy->stop();
  }
}

TEST_F(ProxyTest, HintsKeepTrafficCloseWhenEveryEndpointHasThem) {
  cluster.put(service("web", "10.43.0.5"));
  cluster.put(node("one", "198.51.100.1", "10.42.0.0/24", "east"));
  std::string east = R"({"addresses":["10.42.0.5"],"hints":{"forZones":[{"name":"east"}]}})",
              west = R"({"addresses":["10.42.0.6"],"hints":{"forZones":[{"name":"west"}]}})",
              bare = R"({"addresses":["10.42.0.7"]})";
  cluster.put(slice("web-1", "web", "[" + east + "," + west + "]"));
  start();
  EXPECT_EQ(endpoints("default/web:http"), Strings{"10.42.0.5:8080"});
  cluster.put(slice("web-1", "web", "[" + east + "," + west + "," + bare + "]"));
  EXPECT_TRUE(network.eventually([&] { return endpoints("default/web:http").size() == 3; }));
  cluster.put(slice("web-1", "web", "[" + west + "]"));
  EXPECT_TRUE(network.eventually([&] { return endpoints("default/web:http") == Strings{"10.42.0.6:8080"}; }))
      << "none for this zone: all";
  cluster.put(slice("web-1", "web", "[" + east + "," + west + "]"));
  EXPECT_TRUE(network.eventually([&] { return endpoints("default/web:http") == Strings{"10.42.0.5:8080"}; }));
  cluster.put(node("one", "198.51.100.1", "10.42.0.0/24", "west"));
  EXPECT_TRUE(network.eventually([&] { return endpoints("default/web:http") == Strings{"10.42.0.6:8080"}; }))
      << "the node moved";
  cluster.put(slice(
      "web-1", "web",
      R"([{"addresses":["10.42.0.8"],"hints":{"forNodes":[{"name":"one"}]}},{"addresses":["10.42.0.9"],"hints":{"forNodes":[{"name":"two"}]}}])"));
  EXPECT_TRUE(network.eventually([&] { return endpoints("default/web:http") == Strings{"10.42.0.8:8080"}; }));
}

}  // namespace
}  // namespace kcube::proxy
