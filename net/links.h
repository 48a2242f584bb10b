// Links, addresses and routes by rtnetlink. A Links works in the network namespace where it was opened.
// Source: rtnetlink(7), ip-link(8), bridge(8).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "net/address.h"
#include "net/netlink.h"

namespace kcube::net {

// Runs `action` on a thread that entered `netns`, so that sockets it opens belong there.
Result<void> in_namespace(const Fd& netns, const std::function<Result<void>()>& action);

struct LinkInfo {
  int index = 0;
  int mtu = 0;
  std::string name;
  std::string mac;    // 6 bytes
  std::string alias;  // kAlias: ours
  // Of a VXLAN.
  uint32_t vxlan_id = 0, vxlan_local = 0;
  uint16_t vxlan_port = 0;
};

// Marks what we make, for people who look at `ip link` and for telling our addresses from the machine's.
inline constexpr std::string_view kAlias = "kcube";
// Marks our routes (rtm_protocol; numbers from 96 on are free), "k".
inline constexpr uint8_t kRouteProtocol = 107;

class Links {
 public:
  static Result<Links> open();

  Result<std::vector<LinkInfo>> list();
  // 0 when there is none.
  int index_of(const std::string& name);
  // With a fixed link address: a bridge without one takes its lowest port's, and pods' neighbour entries would go
  // stale.
  Result<void> add_bridge(const std::string& name, const std::string& mac, int mtu);
  // A pair whose other end is `peer` inside `netns`. Behind a bridge packets may go back where they came from: a pod's
  // to itself by its service, seen there when bridge netfilter is on.
  Result<void> add_veth(const std::string& name, const std::string& peer, const Fd& netns, int master, int mtu);
  Result<void> add_vxlan(const std::string& name, uint32_t id, uint16_t port, uint32_t local_ip, const std::string& mac,
                         int mtu);
  Result<void> remove(const std::string& name);  // a missing link is fine
  Result<void> set_up(int index);
  Result<void> add_address(int index, uint32_t ip, uint8_t prefix_length);
  Result<void> remove_address(int index, uint32_t ip, uint8_t prefix_length);

  struct Route {
    Prefix to;
    int index = 0;
    uint32_t via = 0;     // 0: on the link
    uint32_t source = 0;  // 0: chosen by the kernel
    bool onlink = false;  // `via` is reachable on the link whatever the addresses say
    bool local = false;   // delivered to this machine
    bool ours = true;     // has kRouteProtocol
  };
  Result<void> add_route(const Route& route);     // replaces the same destination
  Result<void> remove_route(const Route& route);  // a missing route is fine
  // Every IPv4 route but default ones, those of addresses included.
  Result<std::vector<Route>> routes();
  struct Address {
    uint32_t ip = 0;
    int index = 0;
  };
  Result<std::vector<Address>> addresses();
  // What the kernel would use to reach `to`; 0 when there is no route.
  Result<uint32_t> source_for(uint32_t to);

  // Permanent neighbour of an overlay: `ip` is at `mac`, and `mac` is behind `remote`.
  Result<void> add_overlay_neighbour(int index, uint32_t ip, const std::string& mac, uint32_t remote);
  struct Neighbour {
    uint32_t ip = 0;
    std::string mac;
  };
  Result<std::vector<Neighbour>> overlay_neighbours(int index);
  Result<void> remove_overlay_neighbour(int index, uint32_t ip, const std::string& mac, uint32_t remote);

 private:
  Result<void> set_hairpin(const std::string& name);
  Result<void> set_alias(const std::string& name);
  explicit Links(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
};

}  // namespace kcube::net
