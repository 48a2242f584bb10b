// Services as clients see them, from pods, from the node and from outside.
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/net/lab.h"

namespace kcube::net {
namespace {

using lab::ask_tcp;
using lab::ask_udp;
using lab::service;
using lab::who;

// A node with one client pod and three that serve TCP and UDP 8080, and a machine outside.
class ServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    node.open();
    for (const char* name : {"a", "b", "c"}) {
      lab::Pod& pod = node.pod(name);
      servers.serve(pod.netns, true, 8080, name);
      servers.serve(pod.netns, false, 8080, name);
    }
    node.pod("client");
    world = lab::make_namespace();
    lab::connect(node.netns, "up0", "198.51.100.1", world, "eth0", "198.51.100.2");
    lab::add_default_route(world, "eth0", "198.51.100.1");
  }
  const Fd& pod(const std::string& name) { return node.pods.at(name).netns; }
  Endpoint at(const std::string& name, bool local = true) { return {node.pods.at(name).ip, 8080, local}; }
  void set(const ServicePort& s) {
    auto r = node.network->set_service(s);
    ASSERT_TRUE(r) << r.error().message();
  }
  std::set<std::string> spread(const Fd& from, const std::string& ip, uint16_t port, bool tcp, int tries = 40) {
    std::set<std::string> out;
    for (int i = 0; i < tries; ++i) out.insert(who(tcp ? ask_tcp(from, ip, port) : ask_udp(from, ip, port)));
    return out;
  }

  lab::Node node;
  lab::Servers servers;
  Fd world;
};

const std::set<std::string> kAll{"a", "b", "c"};

TEST_F(ServiceTest, SpreadsConnectionsFromPodsAndFromTheNode) {
  set(service("default/s:t", "10.43.0.5", 80, {at("a"), at("b"), at("c")}));
  set(service("default/s:u", "10.43.0.5", 80, {at("a"), at("b"), at("c")}, Protocol::udp));
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, true), kAll);
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, false), kAll);
  EXPECT_EQ(spread(node.netns, "10.43.0.5", 80, true), kAll);
  EXPECT_EQ(spread(node.netns, "10.43.0.5", 80, false), kAll);
  EXPECT_EQ(ask_tcp(pod("client"), "10.43.0.5", 80).substr(2), node.pods["client"].ip)
      << "the client's address is kept";
}

TEST_F(ServiceTest, RefusesAtOnceWithoutEndpointsAndOnOtherPorts) {
  set(service("default/s:", "10.43.0.5", 80, {}));
  set(service("default/s:u", "10.43.0.5", 80, {}, Protocol::udp));
  for (const Fd* from : {&pod("client"), &std::as_const(node.netns)}) {
    EXPECT_EQ(ask_tcp(*from, "10.43.0.5", 80), "refused");
    EXPECT_EQ(ask_udp(*from, "10.43.0.5", 80), "refused");
    EXPECT_EQ(ask_tcp(*from, "10.43.0.5", 81), "refused");
  }
  set(service("default/s:", "10.43.0.5", 80, {at("a")}));
  EXPECT_EQ(who(ask_tcp(pod("client"), "10.43.0.5", 80)), "a");
  ASSERT_TRUE(node.network->remove_service("default/s:"));
  EXPECT_EQ(ask_tcp(pod("client"), "10.43.0.5", 80), "refused");
}

TEST_F(ServiceTest, APodReachesItselfThroughItsService) {
  set(service("default/s:t", "10.43.0.5", 80, {at("a")}));
  set(service("default/s:u", "10.43.0.5", 80, {at("a")}, Protocol::udp));
  EXPECT_EQ(who(ask_tcp(pod("a"), "10.43.0.5", 80)), "a");
  EXPECT_EQ(who(ask_udp(pod("a"), "10.43.0.5", 80)), "a");
}

TEST_F(ServiceTest, AServiceOfTheNodeItselfServesPodsAndTheNode) {
  servers.serve(node.netns, true, 6443, "api");
  set(service("default/kubernetes:https", "10.43.0.1", 443, {{"198.51.100.1", 6443, true}}));
  EXPECT_EQ(ask_tcp(pod("client"), "10.43.0.1", 443), "api " + node.pods["client"].ip);
  EXPECT_EQ(who(ask_tcp(node.netns, "10.43.0.1", 443)), "api");
}

TEST_F(ServiceTest, NodePortsServeTheWorldTheNodeAndPods) {
  ServicePort s = service("default/s:", "10.43.0.5", 80, {at("a"), at("b"), at("c")});
  s.node_port = 30080;
  set(s);
  s.key = "default/s:u";
  s.protocol = Protocol::udp;
  set(s);
  EXPECT_EQ(spread(world, "198.51.100.1", 30080, true), kAll);
  EXPECT_EQ(spread(world, "198.51.100.1", 30080, false), kAll);
  EXPECT_EQ(ask_tcp(world, "198.51.100.1", 30080).substr(2), node.network->gateway())
      << "the node's address, so that answers pass it";
  EXPECT_EQ(spread(node.netns, "198.51.100.1", 30080, true), kAll);
  EXPECT_EQ(spread(node.netns, "127.0.0.1", 30080, true), kAll);
  EXPECT_EQ(spread(pod("client"), "198.51.100.1", 30080, true), kAll);
  EXPECT_EQ(spread(pod("client"), node.network->gateway(), 30080, true), kAll);
}

TEST_F(ServiceTest, NodeAndHostPortsDoNotAnswerOnServiceAddresses) {
  node.pod("host", {{Protocol::tcp, 80, 8080, ""}});
  servers.serve(pod("host"), true, 8080, "host");
  set(service("default/s:", "10.43.0.5", 80, {}));
  EXPECT_EQ(ask_tcp(pod("client"), "10.43.0.5", 80), "refused");
  ServicePort s = service("default/n:", "10.43.0.6", 8080, {at("a")});
  s.node_port = 30080;
  set(s);
  EXPECT_EQ(ask_tcp(pod("client"), "10.43.0.6", 30080), "refused");
}

TEST_F(ServiceTest, ExternalAddressesServeTheWorldAndRefuseWithoutEndpoints) {
  ServicePort s = service("default/s:", "10.43.0.5", 80, {at("a"), at("b"), at("c")});
  s.external_ips = {"203.0.113.7", "203.0.113.7"};
  set(s);
  EXPECT_EQ(spread(world, "203.0.113.7", 80, true), kAll);
  EXPECT_EQ(spread(pod("client"), "203.0.113.7", 80, true), kAll);
  s.endpoints.clear();
  set(s);
  EXPECT_EQ(ask_tcp(world, "203.0.113.7", 80), "refused");
  EXPECT_EQ(ask_tcp(pod("client"), "203.0.113.7", 80), "refused");
}

TEST_F(ServiceTest, SourceRangesGuardTheLoadBalancersAddress) {
  ServicePort s = service("default/s:", "10.43.0.5", 80, {at("a"), at("b"), at("c")});
  s.load_balancer_ips = {"203.0.113.7"};
  s.external_ips = {"203.0.113.8"};
  s.source_ranges = {"192.0.2.0/24", "198.51.100.2/32"};
  set(s);
  EXPECT_EQ(spread(world, "203.0.113.7", 80, true), kAll);
  s.source_ranges = {"192.0.2.0/24"};
  set(s);
  EXPECT_EQ(ask_tcp(world, "203.0.113.7", 80), "timeout");
  EXPECT_EQ(spread(world, "203.0.113.8", 80, true), kAll);
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, true), kAll);
}

TEST_F(ServiceTest, AnExternalAddressClaimedTwiceStaysWithTheFirst) {
  ServicePort s = service("default/first:", "10.43.0.5", 80, {at("a")}),
              t = service("default/second:", "10.43.0.6", 80, {at("b")});
  s.external_ips = t.external_ips = {"203.0.113.7"};
  set(s);
  set(t);
  EXPECT_EQ(who(ask_tcp(world, "203.0.113.7", 80)), "a");
  EXPECT_EQ(who(ask_tcp(pod("client"), "10.43.0.6", 80)), "b");
  ASSERT_TRUE(node.network->remove_service("default/first:"));
  EXPECT_EQ(who(ask_tcp(world, "203.0.113.7", 80)), "b");
}

TEST_F(ServiceTest, AServiceMadeAnewWithTheSameAddressInOneBatch) {
  set(service("default/old:", "10.43.0.5", 80, {at("a")}));
  ASSERT_TRUE(node.network->batch({service("default/new:", "10.43.0.5", 80, {at("b"), at("c")})},
                                  {"default/old:", "default/never:"}));
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, true), (std::set<std::string>{"b", "c"}));
}

TEST_F(ServiceTest, AffinityKeepsAClientWithItsEndpointThroughChanges) {
  ServicePort s = service("default/s:", "10.43.0.5", 80, {at("b"), at("c")});
  s.affinity_seconds = 10800;
  s.node_port = 30080;
  set(s);
  auto first = spread(pod("client"), "10.43.0.5", 80, true);
  ASSERT_EQ(first.size(), 1u);
  auto outside = spread(world, "198.51.100.1", 30080, true);
  ASSERT_EQ(outside.size(), 1u);
  // One more endpoint, sorted before the others.
  s.endpoints = {at("a"), at("b"), at("c")};
  set(s);
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, true), first);
  EXPECT_EQ(spread(world, "198.51.100.1", 30080, true), outside);
  // Its endpoint goes: another one, and again only one.
  std::erase_if(s.endpoints, [&](const Endpoint& e) { return e.ip == node.pods[*first.begin()].ip; });
  set(s);
  auto second = spread(pod("client"), "10.43.0.5", 80, true);
  EXPECT_EQ(second.size(), 1u);
  EXPECT_NE(second, first);
  EXPECT_TRUE(kAll.contains(*second.begin()));
}

TEST_F(ServiceTest, LocalPoliciesUseLocalEndpointsOnly) {
  ServicePort s = service("default/s:", "10.43.0.5", 80, {at("a", false), at("b", true), at("c", false)});
  s.internal_local = true;
  set(s);
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, true), std::set<std::string>{"b"});
  s.endpoints = {at("a", false)};
  set(s);
  EXPECT_NE(who(ask_tcp(pod("client"), "10.43.0.5", 80)), "a");
}

TEST_F(ServiceTest, ExternalLocalKeepsTheClientsAddressAndInsidersSeeAll) {
  ServicePort s = service("default/s:", "10.43.0.5", 80, {at("a", false), at("b", true), at("c", false)});
  s.external_local = true;
  s.node_port = 30080;
  s.external_ips = {"203.0.113.7"};
  set(s);
  EXPECT_EQ(ask_tcp(world, "198.51.100.1", 30080), "b 198.51.100.2");
  EXPECT_EQ(spread(world, "203.0.113.7", 80, true), std::set<std::string>{"b"});
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, true), kAll);
  EXPECT_EQ(spread(pod("client"), "203.0.113.7", 80, true), kAll);
  EXPECT_EQ(spread(node.netns, "198.51.100.1", 30080, true), kAll);
  s.endpoints = {at("a", false)};
  set(s);
  EXPECT_EQ(ask_tcp(world, "198.51.100.1", 30080), "timeout") << "dropped, so that a load balancer tries another node";
  EXPECT_EQ(who(ask_tcp(pod("client"), "198.51.100.1", 30080)), "a");
}

TEST_F(ServiceTest, ChangesDoNotTouchEstablishedConnections) {
  set(service("default/s:", "10.43.0.5", 80, {at("a")}));
  lab::Client client(pod("client"), true, "10.43.0.5", 80);
  EXPECT_EQ(who(client.ask()), "a");
  set(service("default/s:", "10.43.0.5", 80, {at("b")}));
  EXPECT_EQ(who(client.ask()), "a");
  EXPECT_EQ(who(ask_tcp(pod("client"), "10.43.0.5", 80)), "b");
  ASSERT_TRUE(node.network->remove_service("default/s:"));
  EXPECT_EQ(who(client.ask()), "a");
}

TEST_F(ServiceTest, UdpFlowsLeaveAnEndpointThatIsGone) {
  ServicePort s = service("default/s:", "10.43.0.5", 80, {at("a")}, Protocol::udp);
  s.node_port = 30080;
  set(s);
  lab::Client inside(pod("client"), false, "10.43.0.5", 80), outside(world, false, "198.51.100.1", 30080);
  EXPECT_EQ(who(inside.ask()), "a");
  EXPECT_EQ(who(outside.ask()), "a");
  s.endpoints = {at("b")};
  set(s);
  EXPECT_EQ(who(inside.ask()), "b");
  EXPECT_EQ(who(outside.ask()), "b");
  ASSERT_TRUE(node.network->remove_service(s.key));
  EXPECT_EQ(inside.ask(), "refused");
}

TEST_F(ServiceTest, UdpFlowsThatCameBeforeTheEndpointsFindThem) {
  lab::Client inside(pod("client"), false, "10.43.0.5", 80), outside(world, false, "198.51.100.1", 30080);
  EXPECT_EQ(inside.ask(), "refused");
  EXPECT_EQ(outside.ask(), "refused");
  ServicePort s = service("default/s:", "10.43.0.5", 80, {at("b")}, Protocol::udp);
  s.node_port = 30080;
  set(s);
  EXPECT_EQ(who(inside.ask()), "b");
  EXPECT_EQ(who(outside.ask()), "b");
}

TEST_F(ServiceTest, ARestartKeepsServingAndTheFirstSetReplacesAll) {
  ServicePort kept = service("default/kept:", "10.43.0.5", 80, {at("a"), at("b")}),
              gone = service("default/gone:", "10.43.0.6", 80, {at("a")});
  set(kept);
  set(gone);
  node.close();
  node.open();
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, true), (std::set<std::string>{"a", "b"}))
      << "before the services are known again";
  kept.endpoints = {at("b"), at("c")};
  ASSERT_TRUE(node.network->batch({kept}, {}));
  EXPECT_EQ(spread(pod("client"), "10.43.0.5", 80, true), (std::set<std::string>{"b", "c"}));
  EXPECT_EQ(ask_tcp(pod("client"), "10.43.0.6", 80), "refused");
  node.close();
  node.open();
  ASSERT_TRUE(node.network->batch({}, {}));
  EXPECT_EQ(ask_tcp(pod("client"), "10.43.0.5", 80), "refused");
}

TEST_F(ServiceTest, OtherRangesAfterARestartMakeTheTableAnew) {
  set(service("default/s:", "10.43.0.5", 80, {at("a")}));
  node.close();
  node.options.service_cidr = "10.96.0.0/16";
  node.options.dns_vip = "10.96.0.10";
  node.open();
  EXPECT_EQ(ask_tcp(pod("client"), "10.96.0.5", 80), "refused");
  set(service("default/s:", "10.96.0.5", 80, {at("a")}));
  EXPECT_EQ(who(ask_tcp(pod("client"), "10.96.0.5", 80)), "a");
  EXPECT_NE(who(ask_tcp(pod("client"), "10.43.0.5", 80)), "a");
}

TEST_F(ServiceTest, ThousandsOfServicesLoadInOneBatchAndChangeByElement) {
  std::vector<ServicePort> many;
  for (int i = 0; i < 5000; ++i) {
    ServicePort s = service("default/m" + std::to_string(i) + ":",
                            "10.43." + std::to_string(1 + i / 250) + "." + std::to_string(1 + i % 250), 80,
                            {at("a"), at("b"), at("c")});
    s.node_port = static_cast<uint16_t>(i < 2000 ? 30000 + i : 0);
    many.push_back(s);
  }
  ASSERT_TRUE(node.network->batch(many, {}));
  EXPECT_EQ(spread(pod("client"), "10.43.20.250", 80, true), kAll);
  EXPECT_TRUE(kAll.contains(who(ask_tcp(world, "198.51.100.1", 31999))));
  std::vector<std::string> keys;
  for (const ServicePort& s : many) keys.push_back(s.key);
  keys.pop_back();
  ASSERT_TRUE(node.network->batch({}, keys));
  EXPECT_EQ(ask_tcp(pod("client"), "10.43.1.1", 80), "refused");
  EXPECT_TRUE(kAll.contains(who(ask_tcp(pod("client"), "10.43.20.250", 80))));
}

}  // namespace
}  // namespace kcube::net
