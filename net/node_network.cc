#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "net/ipam.h"
#include "net/links.h"
#include "net/network.h"
#include "net/service_table.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::net {
namespace {

constexpr int kOverlayOverhead = 50;  // VXLAN over IPv4
constexpr int kUsualMtu = 1500, kMinMtu = 576;

std::string bridge_name(const std::string& prefix) { return prefix + "0"; }
std::string overlay_name(const std::string& prefix) { return prefix + "vx"; }
// 15 characters are all a link's name may have: six of base 36 tell two thousand million pods apart.
std::string veth_name(const std::string& prefix, const std::string& id) {
  std::string name = prefix + "_";
  uint64_t hash = stable_hash(id);
  for (int i = 0; i < 6; ++i, hash /= 36) name += "0123456789abcdefghijklmnopqrstuvwxyz"[hash % 36];
  return name;
}

std::string mac_of(char second, uint32_t ip) {
  return {'\x02',
          second,
          static_cast<char>(ip >> 24),
          static_cast<char>(ip >> 16),
          static_cast<char>(ip >> 8),
          static_cast<char>(ip)};
}
// The overlay address of a node follows from its IP, so that peers need no exchange: locally administered, 02:6b:IP.
std::string overlay_mac(uint32_t ip) { return mac_of('\x6b', ip); }
uint32_t ip_of_overlay_mac(const std::string& mac) {
  uint32_t ip = 0;
  for (size_t i = 2; i < mac.size(); ++i) ip = ip << 8 | static_cast<uint8_t>(mac[i]);
  return ip;
}
std::string bridge_mac(uint32_t gateway) { return mac_of('\x6c', gateway); }

void set_sysctl(const std::string& path, std::string_view value) {
  if (auto current = file::read("/proc/sys/" + path, 64); current && trim(*current) == value) return;
  if (auto r = file::write("/proc/sys/" + path, value); !r)
    log::warn("net", "cannot set sysctl", {{"name", path}, {"error", r.error()}});
}

class NodeNetworkImpl final : public NodeNetwork {
 public:
  NodeNetworkImpl(NodeNetworkOptions options, Links links, Links removing, NetlinkSocket nft, Ipam ipam)
      : options_(std::move(options)),
        links_(std::move(links)),
        removing_(std::move(removing)),
        nft_(std::move(nft)),
        ipam_(std::move(ipam)),
        services_(nft_, options_) {}

  Result<void> open() {
    if (auto r = choose_mtu(); !r) return r;
    if (auto r = open_bridge(); !r) return r;
    if (auto r = open_overlay(); !r) return r;
    set_sysctl("net/ipv4/ip_forward", "1");
    set_sysctl("net/ipv4/conf/all/send_redirects", "0");
    for (const std::string& name : {bridge_name(options_.prefix), overlay_ != 0 ? overlay_name(options_.prefix) : ""}) {
      if (name.empty()) continue;
      set_sysctl("net/ipv4/conf/" + name + "/route_localnet", "1");  // node ports on 127.0.0.1
      set_sysctl("net/ipv4/conf/" + name + "/send_redirects", "0");
      set_sysctl("net/ipv4/conf/" + name + "/rp_filter", "0");
    }
    ServiceTable::PodPorts pods;
    for (const std::string& id : ipam_.owners()) pods.emplace_back(ipam_.address_of(id), recall_host_ports(id));
    return services_.open(pods);
  }

  Result<std::vector<std::string>> attach(AttachRequest request) override {
    std::lock_guard lock(mutex_);
    bool known = ipam_.address_of(request.id) != 0;
    auto ip = ipam_.allocate(request.id);
    if (!ip) return fail(ip.error());
    std::string veth = veth_name(options_.prefix, request.id);
    if (known && links_.index_of(veth) != 0) return std::vector<std::string>{format_ipv4(*ip)};
    if (auto done = attach_new(request, veth, *ip); !done) {
      (void)links_.remove(veth);
      (void)forget(request.id, *ip);
      return fail(done.error());
    }
    return std::vector<std::string>{format_ipv4(*ip)};
  }

  Result<void> detach(const std::string& id) override {
    {
      // The kernel takes its time (16 ms here); nobody but others who remove waits for it.
      std::lock_guard lock(removing_mutex_);
      if (auto r = removing_.remove(veth_name(options_.prefix, id)); !r) return r;
    }
    std::lock_guard lock(mutex_);
    return forget(id, ipam_.address_of(id));
  }

  std::vector<std::string> attached() override {
    std::lock_guard lock(mutex_);
    return ipam_.owners();
  }

  Result<void> set_peers(const std::vector<Peer>& peers) override {
    std::lock_guard lock(mutex_);
    std::set<Link> wanted;
    for (const Peer& p : peers) {
      auto node = parse_ipv4(p.node_ip);
      auto range = parse_prefix(p.pod_cidr);
      if (node && range) wanted.insert({*node, range->address, range->length});
    }
    for (auto it = peers_.begin(); it != peers_.end();) {
      if (wanted.contains(*it)) {
        ++it;
        continue;
      }
      if (auto r = change_peer(*it, false); !r) return r;
      it = peers_.erase(it);
    }
    for (const Link& peer : wanted) {
      if (peers_.contains(peer)) continue;
      if (auto r = change_peer(peer, true); !r) return r;
      peers_.insert(peer);
    }
    return {};
  }

  Result<void> set_service(const ServicePort& service) override { return batch({service}, {}); }
  Result<void> remove_service(const std::string& key) override { return batch({}, {key}); }
  Result<void> batch(const std::vector<ServicePort>& set, const std::vector<std::string>& remove) override {
    std::lock_guard lock(mutex_);
    return services_.apply(set, remove);
  }

  std::string gateway() const override { return format_ipv4(ipam_.gateway()); }

 private:
  // Another node: its address and its range of pods.
  struct Link {
    uint32_t node = 0, range = 0;
    uint8_t length = 0;
    auto operator<=>(const Link&) const = default;
  };

  // What fits into the link that carries the node's address once wrapped for another node; the usual when there is
  // none.
  Result<void> choose_mtu() {
    mtu_ = kUsualMtu - kOverlayOverhead;
    auto ip = parse_ipv4(options_.node_ip);
    if (!ip || (*ip >> 24) == 127) return {};
    auto addresses = links_.addresses();
    if (!addresses) return fail(addresses.error());
    auto all = links_.list();
    if (!all) return fail(all.error());
    auto own = std::ranges::find(*addresses, *ip, &Links::Address::ip);
    if (own == addresses->end()) return {};
    auto link = std::ranges::find(*all, own->index, &LinkInfo::index);
    if (link != all->end() && link->mtu >= kMinMtu + kOverlayOverhead && link->mtu < 65536)
      mtu_ = link->mtu - kOverlayOverhead;
    return {};
  }

  Result<void> open_bridge() {
    Prefix pods = *parse_prefix(options_.pod_cidr), services = *parse_prefix(options_.service_cidr);
    std::string name = bridge_name(options_.prefix);
    if (links_.index_of(name) == 0)
      if (auto r = links_.add_bridge(name, bridge_mac(ipam_.gateway()), mtu_); !r) return r;
    bridge_ = links_.index_of(name);
    if (auto r = links_.add_address(bridge_, ipam_.gateway(), pods.length); !r) return r;
    if (auto r = links_.set_up(bridge_); !r) return r;
    if (auto ip = parse_ipv4(options_.dns_vip))
      if (auto r = links_.add_address(bridge_, *ip, 32); !r) return r;
    int loopback = links_.index_of("lo");
    if (auto r = links_.set_up(loopback); !r) return r;
    // Services are translated before routing; what is left over must arrive here to be refused. Our own connections to
    // services leave from the gateway's address, which pods can answer.
    return links_.add_route({.to = services, .index = loopback, .source = ipam_.gateway(), .local = true});
  }

  Result<void> open_overlay() {
    auto local = parse_ipv4(options_.node_ip);
    std::string name = overlay_name(options_.prefix);
    if (!local || (*local >> 24) == 127) return links_.remove(name);  // a node alone on loopback has no peers
    auto all = links_.list();
    if (!all) return fail(all.error());
    for (const LinkInfo& link : *all) {
      if (link.name != name) continue;
      if (link.vxlan_id == options_.vxlan_id && link.vxlan_local == *local && link.vxlan_port == options_.vxlan_port)
        overlay_ = link.index;
      // Its parameters cannot be changed in place.
      else if (auto r = links_.remove(name); !r)
        return r;
    }
    if (overlay_ != 0) {
      if (auto r = recall_peers(); !r) return r;
    } else {
      if (auto r = links_.add_vxlan(name, options_.vxlan_id, options_.vxlan_port, *local, overlay_mac(*local), mtu_);
          !r)
        return r;
      overlay_ = links_.index_of(name);
    }
    // The overlay's own address is the network address of the node's range: unused by pods, known to the peers.
    return links_.add_address(overlay_, parse_prefix(options_.pod_cidr)->address, 32);
  }

  // Peers of a former process, as the kernel knows them: a neighbour for each, and a route by it.
  Result<void> recall_peers() {
    auto neighbours = links_.overlay_neighbours(overlay_);
    if (!neighbours) return fail(neighbours.error());
    auto routes = links_.routes();
    if (!routes) return fail(routes.error());
    for (const Links::Neighbour& n : *neighbours)
      for (const Links::Route& route : *routes)
        if (route.index == overlay_ && route.via == n.ip && route.ours)
          peers_.insert({ip_of_overlay_mac(n.mac), route.to.address, route.to.length});
    return {};
  }

  Result<void> attach_new(const AttachRequest& request, const std::string& veth, uint32_t ip) {
    if (auto r = links_.remove(veth); !r) return r;  // of a pod that we were stopped in the middle of removing
    if (auto r = links_.add_veth(veth, "eth0", request.netns, bridge_, mtu_); !r) return r;
    if (auto r = in_namespace(request.netns, [&] { return configure_pod(ip); }); !r) return r;
    // On disk first: a host port that nobody remembers could not be removed.
    if (auto r = remember_host_ports(request.id, request.host_ports); !r) return r;
    return services_.add_pod(ip, request.host_ports);
  }

  Result<void> forget(const std::string& id, uint32_t ip) {
    if (ip != 0)
      if (auto r = services_.remove_pod(ip, recall_host_ports(id)); !r) return r;
    if (auto r = file::remove(host_ports_file(id)); !r) return r;
    return ipam_.release(id);
  }

  // A /32 and a default route through the gateway: pods of one node reach each other by the host too, so that
  // translated connections come back through it without bridge netfilter.
  Result<void> configure_pod(uint32_t ip) {
    auto links = Links::open();
    if (!links) return fail(links.error());
    int eth0 = links->index_of("eth0"), lo = links->index_of("lo");
    if (auto r = links->set_up(lo); !r) return r;
    if (auto r = links->add_address(eth0, ip, 32); !r) return r;
    if (auto r = links->set_up(eth0); !r) return r;
    if (auto r = links->add_route({.to = {ipam_.gateway(), 32}, .index = eth0}); !r) return r;
    return links->add_route({.to = {0, 0}, .index = eth0, .via = ipam_.gateway()});
  }

  Result<void> change_peer(const Link& peer, bool add) {
    if (overlay_ == 0) return {};
    Links::Route route{.to = {peer.range, peer.length}, .index = overlay_, .via = peer.range, .onlink = true};
    if (add) {
      if (auto r = links_.add_overlay_neighbour(overlay_, peer.range, overlay_mac(peer.node), peer.node); !r) return r;
      return links_.add_route(route);
    }
    if (auto r = links_.remove_route(route); !r) return r;
    return links_.remove_overlay_neighbour(overlay_, peer.range, overlay_mac(peer.node), peer.node);
  }

  std::string host_ports_file(const std::string& id) const { return options_.state_dir + "/hostports/" + id; }

  // "6 8080 80 127.0.0.1" a line.
  Result<void> remember_host_ports(const std::string& id, const std::vector<HostPort>& ports) {
    if (ports.empty()) return {};
    std::string text;
    for (const HostPort& p : ports)
      text += std::to_string(static_cast<int>(p.protocol)) + " " + std::to_string(p.host_port) + " " +
              std::to_string(p.container_port) + " " + p.host_ip + "\n";
    if (auto r = file::make_dirs(options_.state_dir + "/hostports", 0700); !r) return r;
    return file::write_atomic(host_ports_file(id), text, 0600);
  }

  std::vector<HostPort> recall_host_ports(const std::string& id) const {
    std::vector<HostPort> out;
    auto text = file::read(host_ports_file(id));
    if (!text) return out;
    for (std::string_view line : split(*text, '\n')) {
      auto parts = split(line, ' ');
      if (parts.size() < 4) continue;
      out.push_back({static_cast<Protocol>(parse_int<int>(parts[0]).value_or(6)),
                     parse_int<uint16_t>(parts[1]).value_or(0), parse_int<uint16_t>(parts[2]).value_or(0),
                     std::string(parts[3])});
    }
    return out;
  }

  const NodeNetworkOptions options_;
  Links links_;
  Links removing_;
  NetlinkSocket nft_;
  Ipam ipam_;
  ServiceTable services_;
  std::mutex mutex_;           // everything but `removing_`
  std::mutex removing_mutex_;  // taken alone
  int bridge_ = 0, overlay_ = 0, mtu_ = 0;
  std::set<Link> peers_;
};

}  // namespace

Result<std::unique_ptr<NodeNetwork>> open_network(const NodeNetworkOptions& options) {
  auto pods = parse_prefix(options.pod_cidr);
  if (!pods || pods->length > 30)
    return fail(Status::bad_request("pod range \"" + options.pod_cidr + "\" is no IPv4 prefix of /30 or shorter"));
  if (!parse_prefix(options.service_cidr))
    return fail(Status::bad_request("service range \"" + options.service_cidr + "\" is no IPv4 prefix"));
  if (options.prefix.empty() || options.prefix.size() > 8)
    return fail(Status::bad_request("network prefix \"" + options.prefix + "\" must have 1 to 8 characters"));
  auto links = Links::open(), removing = Links::open();
  if (!links) return fail(links.error());
  if (!removing) return fail(removing.error());
  auto nft = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!nft) return fail(nft.error());
  auto ipam = Ipam::open(options.state_dir + "/addresses", *pods);
  if (!ipam) return fail(ipam.error());
  auto network = std::make_unique<NodeNetworkImpl>(options, std::move(*links), std::move(*removing), std::move(*nft),
                                                   std::move(*ipam));
  if (auto r = network->open(); !r) return fail(r.error());
  return network;
}

namespace {

// Routes of service ranges stand on loopback, so they do not go with a link. Ours leave from an address of our bridge;
// one whose address is nobody's is an orphan.
Result<void> remove_service_routes(Links& links, int bridge) {
  auto routes = links.routes();
  if (!routes) return fail(routes.error());
  auto addresses = links.addresses();
  if (!addresses) return fail(addresses.error());
  for (const Links::Route& route : *routes) {
    if (!route.ours || !route.local) continue;
    auto owner = std::ranges::find(*addresses, route.source, &Links::Address::ip);
    if (owner != addresses->end() && owner->index != bridge) continue;
    if (auto r = links.remove_route(route); !r) return r;
  }
  return {};
}

}  // namespace

Result<void> remove_all(const std::string& prefix) {
  auto links = Links::open();
  if (!links) return fail(links.error());
  if (auto r = remove_service_routes(*links, links->index_of(bridge_name(prefix))); !r) return r;
  auto all = links->list();
  if (!all) return fail(all.error());
  for (const LinkInfo& link : *all)
    if (link.name == bridge_name(prefix) || link.name == overlay_name(prefix) || link.name.starts_with(prefix + "_"))
      if (auto r = links->remove(link.name); !r) return r;
  auto nft = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!nft) return fail(nft.error());
  NftTransaction t(prefix);
  t.add_table();
  t.delete_table();
  return t.commit(*nft, "remove nf_tables table " + prefix);
}

Result<std::string> default_address() {
  auto links = Links::open();
  if (!links) return fail(links.error());
  // 192.0.2.1 is for documentation (RFC 5737): asking for a route to it sends nothing.
  auto source = links->source_for(0xc0000201);
  if (source && *source != 0) return format_ipv4(*source);
  auto addresses = links->addresses();
  if (!addresses) return fail(addresses.error());
  auto all = links->list();
  if (!all) return fail(all.error());
  for (const Links::Address& address : *addresses) {
    // Those of our own bridges would be another answer after a restart.
    bool ours = std::ranges::any_of(
        *all, [&](const LinkInfo& link) { return link.index == address.index && link.alias == kAlias; });
    if (!ours && (address.ip >> 24) != 127) return format_ipv4(address.ip);
  }
  return std::string("127.0.0.1");
}

Result<bool> in_use(const std::string& cidr) {
  auto wanted = parse_prefix(cidr);
  if (!wanted) return fail(Status::bad_request("\"" + cidr + "\" is no IPv4 prefix"));
  auto links = Links::open();
  if (!links) return fail(links.error());
  auto used = links->routes();
  if (!used) return fail(used.error());
  return std::ranges::any_of(*used, [&](const Links::Route& r) { return r.to.length >= 8 && r.to.overlaps(*wanted); });
}

}  // namespace kcube::net
