// Two nodes joined by a link.
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/net/lab.h"

namespace kcube::net {
namespace {

using lab::ask_tcp;
using lab::ask_udp;
using lab::service;
using lab::who;

class OverlayTest : public testing::Test {
 protected:
  OverlayTest() : one("10.42.0.0/24", "198.51.100.1"), two("10.42.1.0/24", "198.51.100.2") {}
  void SetUp() override {
    lab::connect(one.netns, "up0", "198.51.100.1", two.netns, "up0", "198.51.100.2");
    one.open();
    two.open();
    peer();
    a = &one.pod("a");
    b = &two.pod("b");
    servers.serve(a->netns, true, 8080, "a");
    servers.serve(b->netns, true, 8080, "b");
    servers.serve(b->netns, false, 8080, "b");
  }
  void peer() {
    ASSERT_TRUE(one.network->set_peers({{"two", "198.51.100.2", "10.42.1.0/24"}}));
    ASSERT_TRUE(two.network->set_peers({{"one", "198.51.100.1", "10.42.0.0/24"}}));
  }
  lab::Node one, two;
  lab::Servers servers;
  lab::Pod *a = nullptr, *b = nullptr;
};

TEST_F(OverlayTest, PodsOnTwoNodesReachEachOtherUnderTheirOwnAddresses) {
  EXPECT_EQ(ask_tcp(a->netns, b->ip, 8080), "b " + a->ip);
  EXPECT_EQ(ask_udp(a->netns, b->ip, 8080), "b " + a->ip);
  EXPECT_EQ(ask_tcp(b->netns, a->ip, 8080), "a " + b->ip);
  EXPECT_EQ(who(ask_tcp(one.netns, b->ip, 8080)), "b") << "from the other node itself";
}

TEST_F(OverlayTest, ServicesReachEndpointsOfTheOtherNode) {
  ServicePort s = service("default/s:", "10.43.0.5", 80, {{b->ip, 8080, false}});
  s.node_port = 30080;
  ASSERT_TRUE(one.network->set_service(s));
  EXPECT_EQ(ask_tcp(a->netns, "10.43.0.5", 80), "b " + a->ip);
  EXPECT_EQ(who(ask_tcp(one.netns, "10.43.0.5", 80)), "b");
  EXPECT_EQ(who(ask_tcp(one.netns, "127.0.0.1", 30080)), "b");
  EXPECT_EQ(who(ask_tcp(two.netns, "198.51.100.1", 30080)), "b");
  EXPECT_EQ(who(ask_tcp(b->netns, "198.51.100.1", 30080)), "b");
}

TEST_F(OverlayTest, ARestartKeepsConnectionsAcrossNodes) {
  lab::Client client(a->netns, true, b->ip, 8080);
  EXPECT_EQ(who(client.ask()), "b");
  one.close();
  EXPECT_EQ(who(client.ask()), "b");
  one.open();
  EXPECT_EQ(who(client.ask()), "b") << "before anybody told of the peers";
  peer();
  EXPECT_EQ(who(client.ask()), "b");
  EXPECT_EQ(who(ask_tcp(b->netns, a->ip, 8080)), "a");
}

TEST_F(OverlayTest, PeersThatLeaveAreForgotten) {
  EXPECT_EQ(who(ask_tcp(a->netns, b->ip, 8080)), "b");
  ASSERT_TRUE(one.network->set_peers({}));
  EXPECT_NE(who(ask_tcp(a->netns, b->ip, 8080)), "b");
  peer();
  EXPECT_EQ(who(ask_tcp(a->netns, b->ip, 8080)), "b");
  // Gone while we were away.
  one.close();
  one.open();
  ASSERT_TRUE(one.network->set_peers({}));
  EXPECT_NE(who(ask_tcp(a->netns, b->ip, 8080)), "b");
}

TEST_F(OverlayTest, APeerWhoseAddressChangesIsFollowed) {
  ASSERT_TRUE(one.network->set_peers({{"two", "198.51.100.77", "10.42.1.0/24"}}));
  EXPECT_NE(who(ask_tcp(a->netns, b->ip, 8080)), "b");
  peer();
  EXPECT_EQ(who(ask_tcp(a->netns, b->ip, 8080)), "b");
}

}  // namespace
}  // namespace kcube::net
