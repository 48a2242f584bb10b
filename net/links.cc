#include "net/links.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>

#include <cstring>
#include <thread>

namespace kcube::net {
namespace {

constexpr uint16_t kCreate = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
constexpr uint16_t kReplace = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;

uint32_t network_order(uint32_t ip) { return htonl(ip); }

uint32_t read_u32(std::string_view data) {
  uint32_t v = 0;
  if (data.size() >= sizeof v) std::memcpy(&v, data.data(), sizeof v);
  return v;
}

// The data of other kinds of links has other meanings, so the kind comes first (it does in the kernel's messages).
void read_vxlan(std::string_view info, LinkInfo& link) {
  std::string_view kind;
  for_each_attribute(info, [&](uint16_t type, std::string_view data) {
    if (type == IFLA_INFO_KIND) kind = data.substr(0, data.find('\0'));
    if (type != IFLA_INFO_DATA || kind != "vxlan") return;
    for_each_attribute(data, [&](uint16_t leaf, std::string_view value) {
      if (leaf == IFLA_VXLAN_ID) link.vxlan_id = read_u32(value);
      if (leaf == IFLA_VXLAN_LOCAL) link.vxlan_local = ntohl(read_u32(value));
      if (leaf == IFLA_VXLAN_PORT && value.size() >= 2)
        link.vxlan_port = static_cast<uint16_t>(uint8_t(value[0]) << 8 | uint8_t(value[1]));
    });
  });
}

Result<void> tolerate(Result<void> r, std::initializer_list<int> errors) {
  if (!r)
    for (int e : errors)
      if (r.error().os_error() == e) return {};
  return r;
}

}  // namespace

Result<void> in_namespace(const Fd& netns, const std::function<Result<void>()>& action) {
  Result<void> result;
  std::thread([&] {
    if (::setns(netns.get(), CLONE_NEWNET) != 0)
      result = fail(Status::from_errno("enter network namespace"));
    else
      result = action();
  }).join();
  return result;
}

Result<Links> Links::open() {
  auto socket = NetlinkSocket::open(NETLINK_ROUTE);
  if (!socket) return fail(socket.error());
  return Links(std::move(*socket));
}

Result<std::vector<LinkInfo>> Links::list() {
  NetlinkMessage m;
  m.begin(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  std::vector<LinkInfo> out;
  auto r = socket_.dump(m, "list links", [&](const NetlinkReply& reply) {
    if (reply.payload.size() < sizeof(ifinfomsg)) return;
    ifinfomsg header;
    std::memcpy(&header, reply.payload.data(), sizeof header);
    LinkInfo link{.index = header.ifi_index};
    for_each_attribute(reply.payload.substr(sizeof header), [&](uint16_t type, std::string_view data) {
      if (type == IFLA_IFNAME) link.name = data.substr(0, data.find('\0'));
      if (type == IFLA_MTU) link.mtu = static_cast<int>(read_u32(data));
      if (type == IFLA_ADDRESS) link.mac = data;
      if (type == IFLA_IFALIAS) link.alias = data.substr(0, data.find('\0'));
      if (type == IFLA_LINKINFO) read_vxlan(data, link);
    });
    out.push_back(std::move(link));
  });
  if (!r) return fail(r.error());
  return out;
}

int Links::index_of(const std::string& name) {
  NetlinkMessage m;
  m.begin(RTM_GETLINK, 0, ifinfomsg{});
  m.put_string(IFLA_IFNAME, name);
  int index = 0;
  (void)socket_.dump(m, "find link", [&](const NetlinkReply& reply) {
    ifinfomsg header;
    if (reply.payload.size() < sizeof header) return;
    std::memcpy(&header, reply.payload.data(), sizeof header);
    index = header.ifi_index;
  });
  return index;
}

Result<void> Links::add_bridge(const std::string& name, const std::string& mac, int mtu) {
  NetlinkMessage m;
  m.begin(RTM_NEWLINK, kCreate, ifinfomsg{});
  m.put_string(IFLA_IFNAME, name);
  m.put(IFLA_ADDRESS, mac.data(), mac.size());
  if (mtu > 0) m.put_u32(IFLA_MTU, static_cast<uint32_t>(mtu));
  m.nest(IFLA_LINKINFO, [&] {
    m.put_string(IFLA_INFO_KIND, "bridge");
    m.nest(IFLA_INFO_DATA, [&] { m.put_u32(IFLA_BR_FORWARD_DELAY, 0); });
  });
  if (auto r = socket_.request(m, "add bridge " + name); !r) return r;
  return set_alias(name);
}

Result<void> Links::add_veth(const std::string& name, const std::string& peer, const Fd& netns, int master, int mtu) {
  ifinfomsg header{};
  header.ifi_flags = header.ifi_change = IFF_UP;
  NetlinkMessage m;
  m.begin(RTM_NEWLINK, kCreate, header);
  m.put_string(IFLA_IFNAME, name);
  m.put_u32(IFLA_MASTER, static_cast<uint32_t>(master));
  if (mtu > 0) m.put_u32(IFLA_MTU, static_cast<uint32_t>(mtu));
  m.nest(IFLA_LINKINFO, [&] {
    m.put_string(IFLA_INFO_KIND, "veth");
    m.nest(IFLA_INFO_DATA, [&] {
      m.nest(VETH_INFO_PEER, [&] {
        ifinfomsg inner{};
        m.raw(&inner, sizeof inner);
        m.put_string(IFLA_IFNAME, peer);
        m.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(netns.get()));
        if (mtu > 0) m.put_u32(IFLA_MTU, static_cast<uint32_t>(mtu));
      });
    });
  });
  if (auto r = socket_.request(m, "add veth " + name); !r) return r;
  return master == 0 ? Result<void>() : set_hairpin(name);
}

Result<void> Links::set_hairpin(const std::string& name) {
  ifinfomsg header{};
  header.ifi_family = AF_BRIDGE;
  header.ifi_index = index_of(name);
  NetlinkMessage m;
  m.begin(RTM_SETLINK, NLM_F_ACK, header);
  m.nest(IFLA_PROTINFO, [&] { m.put_u8(IFLA_BRPORT_MODE, 1); });
  return socket_.request(m, "set hairpin mode of " + name);
}

Result<void> Links::set_alias(const std::string& name) {
  NetlinkMessage m;
  m.begin(RTM_NEWLINK, NLM_F_ACK, ifinfomsg{});
  m.put_string(IFLA_IFNAME, name);
  m.put_string(IFLA_IFALIAS, kAlias);
  return socket_.request(m, "set alias of " + name);
}

Result<void> Links::add_vxlan(const std::string& name, uint32_t id, uint16_t port, uint32_t local_ip,
                              const std::string& mac, int mtu) {
  ifinfomsg header{};
  header.ifi_flags = header.ifi_change = IFF_UP;
  NetlinkMessage m;
  m.begin(RTM_NEWLINK, kCreate, header);
  m.put_string(IFLA_IFNAME, name);
  m.put(IFLA_ADDRESS, mac.data(), mac.size());
  if (mtu > 0) m.put_u32(IFLA_MTU, static_cast<uint32_t>(mtu));
  m.nest(IFLA_LINKINFO, [&] {
    m.put_string(IFLA_INFO_KIND, "vxlan");
    m.nest(IFLA_INFO_DATA, [&] {
      m.put_u32(IFLA_VXLAN_ID, id);
      m.put_u32(IFLA_VXLAN_LOCAL, network_order(local_ip));
      m.put_u16(IFLA_VXLAN_PORT, htons(port));
      m.put_u8(IFLA_VXLAN_LEARNING, 0);
    });
  });
  if (auto r = socket_.request(m, "add vxlan " + name); !r) return r;
  return set_alias(name);
}

Result<void> Links::remove(const std::string& name) {
  NetlinkMessage m;
  m.begin(RTM_DELLINK, NLM_F_ACK, ifinfomsg{});
  m.put_string(IFLA_IFNAME, name);
  return tolerate(socket_.request(m, "remove link " + name), {ENODEV});
}

Result<void> Links::set_up(int index) {
  ifinfomsg header{};
  header.ifi_index = index;
  header.ifi_flags = header.ifi_change = IFF_UP;
  NetlinkMessage m;
  m.begin(RTM_NEWLINK, NLM_F_ACK, header);
  return socket_.request(m, "bring link up");
}

Result<void> Links::add_address(int index, uint32_t ip, uint8_t prefix_length) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = prefix_length;
  header.ifa_index = static_cast<uint32_t>(index);
  NetlinkMessage m;
  m.begin(RTM_NEWADDR, kReplace, header);
  uint32_t be = network_order(ip);
  m.put(IFA_LOCAL, &be, sizeof be);
  m.put(IFA_ADDRESS, &be, sizeof be);
  return tolerate(socket_.request(m, "add address " + format_ipv4(ip)), {EEXIST});
}

Result<void> Links::remove_address(int index, uint32_t ip, uint8_t prefix_length) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = prefix_length;
  header.ifa_index = static_cast<uint32_t>(index);
  NetlinkMessage m;
  m.begin(RTM_DELADDR, NLM_F_ACK, header);
  uint32_t be = network_order(ip);
  m.put(IFA_LOCAL, &be, sizeof be);
  return tolerate(socket_.request(m, "remove address " + format_ipv4(ip)), {EADDRNOTAVAIL});
}

namespace {

NetlinkMessage route_message(uint16_t type, uint16_t flags, const Links::Route& route) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_dst_len = route.to.length;
  header.rtm_table = route.local ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
  header.rtm_protocol = kRouteProtocol;
  header.rtm_scope = route.local ? RT_SCOPE_HOST : route.via != 0 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  header.rtm_type = route.local ? RTN_LOCAL : RTN_UNICAST;
  if (route.onlink) header.rtm_flags = RTNH_F_ONLINK;
  NetlinkMessage m;
  m.begin(type, flags, header);
  uint32_t to = network_order(route.to.address), via = network_order(route.via), source = network_order(route.source);
  m.put(RTA_DST, &to, sizeof to);
  if (route.index > 0) m.put_u32(RTA_OIF, static_cast<uint32_t>(route.index));
  if (route.via != 0) m.put(RTA_GATEWAY, &via, sizeof via);
  if (route.source != 0) m.put(RTA_PREFSRC, &source, sizeof source);
  return m;
}

std::string route_name(const Links::Route& route) {
  return format_ipv4(route.to.address) + "/" + std::to_string(route.to.length);
}

}  // namespace

Result<void> Links::add_route(const Route& route) {
  NetlinkMessage m = route_message(RTM_NEWROUTE, kReplace, route);
  return socket_.request(m, "add route " + route_name(route));
}

Result<void> Links::remove_route(const Route& route) {
  NetlinkMessage m = route_message(RTM_DELROUTE, NLM_F_ACK, route);
  return tolerate(socket_.request(m, "remove route " + route_name(route)), {ESRCH, ENODEV});
}

Result<std::vector<Links::Route>> Links::routes() {
  rtmsg header{};
  header.rtm_family = AF_INET;
  NetlinkMessage m;
  m.begin(RTM_GETROUTE, NLM_F_DUMP, header);
  std::vector<Route> out;
  auto r = socket_.dump(m, "list routes", [&](const NetlinkReply& reply) {
    rtmsg route;
    if (reply.payload.size() < sizeof route) return;
    std::memcpy(&route, reply.payload.data(), sizeof route);
    if (route.rtm_dst_len == 0) return;  // the default route uses nothing
    Route found{.to = {0, route.rtm_dst_len},
                .local = route.rtm_table == RT_TABLE_LOCAL,
                .ours = route.rtm_protocol == kRouteProtocol};
    for_each_attribute(reply.payload.substr(sizeof route), [&](uint16_t type, std::string_view data) {
      if (type == RTA_DST) found.to.address = ntohl(read_u32(data));
      if (type == RTA_OIF) found.index = static_cast<int>(read_u32(data));
      if (type == RTA_GATEWAY) found.via = ntohl(read_u32(data));
      if (type == RTA_PREFSRC) found.source = ntohl(read_u32(data));
    });
    out.push_back(found);
  });
  if (!r) return fail(r.error());
  return out;
}

Result<std::vector<Links::Address>> Links::addresses() {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  NetlinkMessage m;
  m.begin(RTM_GETADDR, NLM_F_DUMP, header);
  std::vector<Address> out;
  auto r = socket_.dump(m, "list addresses", [&](const NetlinkReply& reply) {
    ifaddrmsg address;
    if (reply.payload.size() < sizeof address) return;
    std::memcpy(&address, reply.payload.data(), sizeof address);
    for_each_attribute(reply.payload.substr(sizeof address), [&](uint16_t type, std::string_view data) {
      if (type == IFA_LOCAL) out.push_back({ntohl(read_u32(data)), static_cast<int>(address.ifa_index)});
    });
  });
  if (!r) return fail(r.error());
  return out;
}

Result<uint32_t> Links::source_for(uint32_t to) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_dst_len = 32;
  NetlinkMessage m;
  m.begin(RTM_GETROUTE, 0, header);
  uint32_t be = network_order(to);
  m.put(RTA_DST, &be, sizeof be);
  uint32_t source = 0;
  auto r = socket_.dump(m, "look up route", [&](const NetlinkReply& reply) {
    if (reply.payload.size() < sizeof(rtmsg)) return;
    for_each_attribute(reply.payload.substr(sizeof(rtmsg)), [&](uint16_t type, std::string_view data) {
      if (type == RTA_PREFSRC) source = ntohl(read_u32(data));
    });
  });
  if (!r) return uint32_t{0};
  return source;
}

namespace {

Result<void> neighbour(NetlinkSocket& socket, uint16_t type, uint16_t flags, int index, uint32_t ip,
                       const std::string& mac, uint32_t remote) {
  ndmsg header{};
  header.ndm_family = AF_INET;
  header.ndm_ifindex = index;
  header.ndm_state = NUD_PERMANENT;
  NetlinkMessage m;
  m.begin(type, flags, header);
  uint32_t be = network_order(ip), far = network_order(remote);
  m.put(NDA_DST, &be, sizeof be);
  m.put(NDA_LLADDR, mac.data(), mac.size());
  auto first = socket.request(m, "neighbour " + format_ipv4(ip));
  header.ndm_family = AF_BRIDGE;
  header.ndm_flags = NTF_SELF;
  NetlinkMessage fdb;
  fdb.begin(type, flags, header);
  fdb.put(NDA_LLADDR, mac.data(), mac.size());
  fdb.put(NDA_DST, &far, sizeof far);
  auto second = socket.request(fdb, "forwarding entry for " + format_ipv4(remote));
  return first ? second : first;
}

}  // namespace

Result<void> Links::add_overlay_neighbour(int index, uint32_t ip, const std::string& mac, uint32_t remote) {
  return neighbour(socket_, RTM_NEWNEIGH, kReplace, index, ip, mac, remote);
}

Result<std::vector<Links::Neighbour>> Links::overlay_neighbours(int index) {
  ndmsg header{};
  header.ndm_family = AF_INET;
  NetlinkMessage m;
  m.begin(RTM_GETNEIGH, NLM_F_DUMP, header);
  std::vector<Neighbour> out;
  auto r = socket_.dump(m, "list neighbours", [&](const NetlinkReply& reply) {
    ndmsg entry;
    if (reply.payload.size() < sizeof entry) return;
    std::memcpy(&entry, reply.payload.data(), sizeof entry);
    if (entry.ndm_ifindex != index || (entry.ndm_state & NUD_PERMANENT) == 0) return;
    Neighbour found;
    for_each_attribute(reply.payload.substr(sizeof entry), [&](uint16_t type, std::string_view data) {
      if (type == NDA_DST) found.ip = ntohl(read_u32(data));
      if (type == NDA_LLADDR) found.mac = data;
    });
    out.push_back(std::move(found));
  });
  if (!r) return fail(r.error());
  return out;
}

Result<void> Links::remove_overlay_neighbour(int index, uint32_t ip, const std::string& mac, uint32_t remote) {
  return tolerate(neighbour(socket_, RTM_DELNEIGH, NLM_F_ACK, index, ip, mac, remote), {ENOENT});
}

}  // namespace kcube::net
