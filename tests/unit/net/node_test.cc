// One node: pods' links and addresses, host ports, restarts, removal.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "net/links.h"
#include "tests/unit/net/lab.h"

namespace kcube::net {
namespace {

using lab::ask_tcp;
using lab::ask_udp;
using lab::who;

class NodeTest : public testing::Test {
 protected:
  void SetUp() override { node.open(); }
  lab::Node node;
  lab::Servers servers;
};

TEST_F(NodeTest, PodsReachEachOtherTheirNodeAndTheNodeThem) {
  lab::Pod &a = node.pod("a"), &b = node.pod("b");
  EXPECT_NE(a.ip, b.ip);
  servers.serve(b.netns, true, 80, "b");
  servers.serve(b.netns, false, 80, "b");
  servers.serve(node.netns, true, 9000, "node");
  EXPECT_EQ(ask_tcp(a.netns, b.ip, 80), "b " + a.ip);
  EXPECT_EQ(ask_udp(a.netns, b.ip, 80), "b " + a.ip);
  EXPECT_EQ(ask_tcp(a.netns, node.network->gateway(), 9000), "node " + a.ip);
  EXPECT_EQ(ask_tcp(node.netns, b.ip, 80), "b " + node.network->gateway());
  EXPECT_EQ(ask_tcp(a.netns, b.ip, 81), "refused");
}

TEST_F(NodeTest, TheClusterDnsAddressIsLocal) {
  lab::Pod& a = node.pod("a");
  servers.serve(node.netns, false, 53, "dns", "10.43.0.10");
  servers.serve(node.netns, true, 53, "dns", "10.43.0.10");
  EXPECT_EQ(ask_udp(a.netns, "10.43.0.10", 53), "dns " + a.ip);
  EXPECT_EQ(ask_tcp(a.netns, "10.43.0.10", 53), "dns " + a.ip);
  EXPECT_EQ(who(ask_udp(node.netns, "10.43.0.10", 53)), "dns");
}

TEST_F(NodeTest, AttachIsIdempotentAndDetachForgets) {
  lab::Pod& a = node.pod("a");
  std::string ip = a.ip;
  servers.serve(a.netns, true, 80, "a");
  node.pod("a");
  EXPECT_EQ(node.pods["a"].ip, ip);
  EXPECT_EQ(who(ask_tcp(node.netns, ip, 80)), "a");
  EXPECT_EQ(node.network->attached(), std::vector<std::string>{"a"});
  ASSERT_TRUE(node.network->detach("a"));
  ASSERT_TRUE(node.network->detach("a"));
  EXPECT_TRUE(node.network->attached().empty());
  EXPECT_NE(who(ask_tcp(node.netns, ip, 80)), "a");
}

TEST_F(NodeTest, APodWhoseNamespaceIsGoneCanBeDetached) {
  node.pod("a");
  node.pods.erase("a");
  ASSERT_TRUE(node.network->detach("a"));
  node.pod("a");
}

TEST_F(NodeTest, TheGatewaysLinkAddressStaysWhenPodsComeAndGo) {
  auto mac = [&] {
    std::string out;
    lab::in(node.netns, [&] {
      auto links = Links::open();
      auto all = links->list();
      for (const LinkInfo& link : *all)
        if (link.name == "kcube0") out = link.mac;
    });
    return out;
  };
  std::string before = mac();
  for (int i = 0; i < 8; ++i) {
    node.pod("p" + std::to_string(i));
    EXPECT_EQ(mac(), before);
  }
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(node.network->detach("p" + std::to_string(i)));
    EXPECT_EQ(mac(), before);
  }
}

TEST_F(NodeTest, PodsReachTheWorldUnderTheNodesAddress) {
  Fd world = lab::make_namespace();
  lab::connect(node.netns, "up0", "198.51.100.1", world, "eth0", "198.51.100.2");
  servers.serve(world, true, 80, "world");
  lab::Pod& a = node.pod("a");
  EXPECT_EQ(ask_tcp(a.netns, "198.51.100.2", 80), "world 198.51.100.1");
}

TEST_F(NodeTest, HostPortsLeadToThePodFromOutsideFromTheNodeAndFromPods) {
  Fd world = lab::make_namespace();
  lab::connect(node.netns, "up0", "198.51.100.1", world, "eth0", "198.51.100.2");
  lab::Pod& web = node.pod(
      "web", {{Protocol::tcp, 8080, 80, ""}, {Protocol::udp, 8080, 80, ""}, {Protocol::tcp, 9090, 80, "127.0.0.1"}});
  lab::Pod& other = node.pod("other");
  servers.serve(web.netns, true, 80, "web");
  servers.serve(web.netns, false, 80, "web");
  EXPECT_EQ(ask_tcp(world, "198.51.100.1", 8080), "web 198.51.100.2");
  EXPECT_EQ(ask_udp(world, "198.51.100.1", 8080), "web 198.51.100.2");
  EXPECT_EQ(who(ask_tcp(node.netns, "198.51.100.1", 8080)), "web");
  EXPECT_EQ(who(ask_tcp(node.netns, "127.0.0.1", 8080)), "web");
  EXPECT_EQ(who(ask_tcp(other.netns, "198.51.100.1", 8080)), "web");
  EXPECT_EQ(who(ask_tcp(web.netns, "198.51.100.1", 8080)), "web");
  EXPECT_EQ(who(ask_tcp(node.netns, "127.0.0.1", 9090)), "web");
  EXPECT_EQ(ask_tcp(world, "198.51.100.1", 9090), "refused");

  node.close();
  node.open();
  EXPECT_EQ(who(ask_tcp(world, "198.51.100.1", 8080)), "web") << "after a restart";

  ASSERT_TRUE(node.network->detach("web"));
  EXPECT_EQ(ask_tcp(world, "198.51.100.1", 8080), "refused");
}

TEST_F(NodeTest, AUdpHostPortTakesOverFlowsThatCameBeforeIt) {
  Fd world = lab::make_namespace();
  lab::connect(node.netns, "up0", "198.51.100.1", world, "eth0", "198.51.100.2");
  lab::Client client(world, false, "198.51.100.1", 8080);
  EXPECT_EQ(client.ask(), "refused");
  lab::Pod& web = node.pod("web", {{Protocol::udp, 8080, 80, ""}});
  servers.serve(web.netns, false, 80, "web");
  EXPECT_EQ(who(client.ask()), "web");
}

TEST_F(NodeTest, ARestartKeepsConnectionsAndAddresses) {
  lab::Pod &a = node.pod("a"), &b = node.pod("b");
  servers.serve(b.netns, true, 80, "b");
  ASSERT_TRUE(node.network->set_service(lab::service("default/s:", "10.43.0.5", 80, {{b.ip, 80}})));
  lab::Client direct(a.netns, true, b.ip, 80), by_service(a.netns, true, "10.43.0.5", 80);
  EXPECT_EQ(who(direct.ask()), "b");
  EXPECT_EQ(who(by_service.ask()), "b");
  node.close();
  EXPECT_EQ(who(by_service.ask()), "b") << "with nobody at the helm";
  node.open();
  EXPECT_EQ(who(direct.ask()), "b");
  EXPECT_EQ(who(by_service.ask()), "b");
  EXPECT_EQ(node.network->attached(), (std::vector<std::string>{"a", "b"}));
  std::string ip = b.ip;
  node.pod("b");
  EXPECT_EQ(node.pods["b"].ip, ip);
  EXPECT_EQ(who(ask_tcp(a.netns, ip, 80)), "b");
}

TEST_F(NodeTest, APodReachesItsOwnServiceAfterARestart) {
  lab::Pod& a = node.pod("a");
  servers.serve(a.netns, true, 80, "a");
  node.close();
  node.open();
  ASSERT_TRUE(node.network->set_service(lab::service("default/s:", "10.43.0.5", 80, {{a.ip, 80}})));
  EXPECT_EQ(who(ask_tcp(a.netns, "10.43.0.5", 80)), "a");
}

TEST_F(NodeTest, RemoveAllLeavesNothing) {
  struct Seen {
    std::vector<std::string> links;
    std::vector<uint32_t> addresses;
    size_t prefixes = 0;
  };
  auto look = [](const Fd& netns) {
    Seen seen;
    lab::in(netns, [&] {
      auto links = Links::open();
      auto all = links->list();
      for (const LinkInfo& link : *all) seen.links.push_back(link.name);
      auto addresses = links->addresses();
      for (const Links::Address& a : *addresses) seen.addresses.push_back(a.ip);
      seen.prefixes = links->routes()->size();
    });
    return seen;
  };
  Fd untouched = lab::make_namespace();
  node.options.node_ip = "198.51.100.1";
  node.open();
  node.pod("a", {{Protocol::tcp, 8080, 80, ""}});
  ASSERT_TRUE(node.network->set_service(lab::service("default/s:", "10.43.0.5", 80, {{"10.42.0.9", 80}})));
  EXPECT_GT(look(node.netns).links.size(), look(untouched).links.size());
  node.close();
  for (int i = 0; i < 2; ++i) lab::in(node.netns, [] { ASSERT_TRUE(remove_all("kcube")); });
  Seen left = look(node.netns), never = look(untouched);
  EXPECT_EQ(left.links, never.links);
  EXPECT_EQ(left.addresses, never.addresses);
  EXPECT_EQ(left.prefixes, never.prefixes);
  servers.serve(node.netns, true, 80, "node");
  EXPECT_EQ(who(ask_tcp(node.netns, "127.0.0.1", 80)), "node");
  lab::in(node.netns, [] { EXPECT_FALSE(*in_use("10.43.0.0/16")); });
}

TEST_F(NodeTest, TheNodesOwnAddressIsNeverTheBridges) {
  lab::in(node.netns, [] { EXPECT_EQ(default_address().value(), "127.0.0.1"); });
  Fd world = lab::make_namespace();
  lab::connect(node.netns, "up0", "198.51.100.1", world, "eth0", "198.51.100.2");
  lab::in(node.netns, [] { EXPECT_EQ(default_address().value(), "198.51.100.1"); });
  lab::in(node.netns, [] {
    EXPECT_TRUE(*in_use("198.51.0.0/16"));
    EXPECT_TRUE(*in_use("10.42.0.128/25"));
    EXPECT_FALSE(*in_use("10.99.0.0/16"));
    EXPECT_FALSE(in_use("10.99.0.0/40"));
  });
}

TEST(Mtu, LeavesRoomForTheOverlayOnTheNodesLink) {
  lab::Node node("10.42.0.0/24", "198.51.100.1");
  Fd other = lab::make_namespace();
  lab::connect(node.netns, "up0", "198.51.100.1", other, "eth0", "198.51.100.2", 1400);
  node.open();
  lab::in(node.pod("a").netns, [] {
    auto links = Links::open();
    auto all = links->list();
    for (const LinkInfo& link : *all)
      EXPECT_TRUE(link.name != "eth0" || link.mtu == 1350) << link.mtu;
  });
}

TEST_F(NodeTest, ManyThreadsMayCallAtTheSameTime) {
  std::vector<Fd> namespaces;
  for (int i = 0; i < 24; ++i) namespaces.push_back(lab::make_namespace());
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (int i = t; i < 24; i += 3) {
        std::string id = "p" + std::to_string(i);
        auto port = static_cast<uint16_t>(9000 + i);
        EXPECT_TRUE(node.network->attach({id, Fd(::dup(namespaces[i].get())), {{Protocol::tcp, port, 80, ""}}}));
        EXPECT_TRUE(i % 2 != 0 || node.network->detach(id));
      }
    });
  threads.emplace_back([&] {
    for (uint16_t i = 1; i < 200; ++i) {
      std::string key = "default/s" + std::to_string(i % 5) + ":";
      EXPECT_TRUE(node.network->set_service(lab::service(key, "10.43.0.5", i, {{"10.42.0.9", 80}})));
      EXPECT_TRUE(i % 3 != 0 || node.network->remove_service(key));
    }
  });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(node.network->attached().size(), 12u);
}

TEST_F(NodeTest, AHostPortOfAnotherPodIsRefusedAndNothingIsLeft) {
  node.pod("a", {{Protocol::tcp, 8080, 80, ""}});
  Fd netns = lab::make_namespace();
  auto taken = node.network->attach({"b", Fd(::dup(netns.get())), {{Protocol::tcp, 8080, 80, ""}}});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code(), 409);
  EXPECT_EQ(node.network->attached(), std::vector<std::string>{"a"});
  EXPECT_TRUE(node.network->attach({"b", Fd(::dup(netns.get())), {}}));
}

TEST_F(NodeTest, RefusesOptionsThatMakeNoSense) {
  NodeNetworkOptions options = node.options;
  options.pod_cidr = "10.42.0.0/31";
  EXPECT_EQ(open_network(options).error().code(), 400);
  options = node.options;
  options.service_cidr = "fd00::/64";
  EXPECT_EQ(open_network(options).error().code(), 400);
  options = node.options;
  options.prefix = "much-too-long";
  EXPECT_EQ(open_network(options).error().code(), 400);
}

TEST_F(NodeTest, PodsCannotReachWhatTheNodeServesOnLoopback) {
  servers.serve(node.netns, true, 7000, "secret", "127.0.0.1");
  lab::Pod& a = node.pod("a");
  // A pod with root over its own routes sends 127.0.0.1 to the gateway.
  lab::in(a.netns, [&] {
    auto links = Links::open();
    int eth0 = links->index_of("eth0");
    ASSERT_TRUE(links->remove_address(links->index_of("lo"), 0x7f000001, 8));
    (void)links->remove_route({.to = {0x7f000000, 8}, .index = links->index_of("lo"), .local = true});
    ASSERT_TRUE(links->add_route(
        {.to = {0x7f000001, 32}, .index = eth0, .via = *parse_ipv4(node.network->gateway()), .onlink = true}));
    (void)std::system("echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet");
  });
  EXPECT_NE(who(ask_tcp(a.netns, "127.0.0.1", 7000, a.ip)), "secret");
}

}  // namespace
}  // namespace kcube::net
