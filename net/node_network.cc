#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "net/ipam.h"
#include "net/links.h"
#include "net/network.h"
#include "net/service_table.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::net {
namespace {

constexpr int kOverlayOverhead = 50;   // VXLAN over IPv4
constexpr int kMtu = 1500;

std::string bridge_name(const std::string& prefix) { return prefix + "0"; }
std::string overlay_name(const std::string& prefix) { return prefix + "vx"; }
// 15 characters are all a link's name may have.
std::string veth_name(const std::string& prefix, const std::string& id) {
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(stable_hash(id)));
  return prefix.substr(0, 8) + "_" + std::string(hash).substr(0, 6);
}

// The overlay address of a node follows from its IP, so that peers need no exchange: locally administered, 02:6b:IP.
std::string overlay_mac(uint32_t ip) {
  return {'\x02', '\x6b', static_cast<char>(ip >> 24), static_cast<char>(ip >> 16), static_cast<char>(ip >> 8), static_cast<char>(ip)};
}

void set_sysctl(const std::string& path, std::string_view value) {
  if (auto current = file::read("/proc/sys/" + path, 64); current && trim(*current) == value) return;
  if (auto r = file::write("/proc/sys/" + path, value); !r) log::warn("net", "cannot set sysctl", {{"name", path}, {"error", r.error()}});
}

class NodeNetworkImpl final : public NodeNetwork {
 public:
  NodeNetworkImpl(NodeNetworkOptions options, Links links, NetlinkSocket nft, Ipam ipam)
      : options_(std::move(options)), links_(std::move(links)), nft_(std::move(nft)), ipam_(std::move(ipam)), services_(nft_, options_) {}

  Result<void> open() {
    Prefix pods = *parse_prefix(options_.pod_cidr), services = *parse_prefix(options_.service_cidr);
    std::string bridge = bridge_name(options_.prefix);
    if (links_.index_of(bridge) == 0)
      if (auto r = links_.add_bridge(bridge, kMtu - kOverlayOverhead); !r) return r;
    bridge_ = links_.index_of(bridge);
    if (auto r = links_.add_address(bridge_, ipam_.gateway(), pods.length); !r) return r;
    if (auto r = links_.set_up(bridge_); !r) return r;
    if (auto r = open_overlay(); !r) return r;

    int loopback = links_.index_of("lo");
    if (auto r = links_.set_up(loopback); !r) return r;
    // Services are translated before routing; what is left over must arrive here to be refused. Our own connections to
    // services leave from the gateway's address, which pods can answer.
    if (auto r = links_.add_route({.to = services, .index = loopback, .source = ipam_.gateway(), .local = true}); !r) return r;
    if (auto ip = parse_ipv4(options_.dns_vip))
      if (auto r = links_.add_address(bridge_, *ip, 32); !r) return r;

    set_sysctl("net/ipv4/ip_forward", "1");
    set_sysctl("net/ipv4/conf/" + bridge + "/route_localnet", "1");
    set_sysctl("net/ipv4/conf/" + bridge + "/send_redirects", "0");
    set_sysctl("net/ipv4/conf/all/send_redirects", "0");
    set_sysctl("net/ipv4/conf/" + bridge + "/rp_filter", "0");
    if (auto r = services_.open(); !r) return r;
    for (const std::string& id : ipam_.owners())
      if (auto r = services_.add_pod(ipam_.address_of(id)); !r) return r;
    return {};
  }

  Result<std::vector<std::string>> attach(AttachRequest request) override {
    std::lock_guard lock(mutex_);
    bool known = ipam_.address_of(request.id) != 0;
    auto ip = ipam_.allocate(request.id);
    if (!ip) return fail(ip.error());
    std::string veth = veth_name(options_.prefix, request.id);
    auto done = [&]() -> Result<void> {
      if (known && links_.index_of(veth) != 0) return {};
      if (auto r = links_.add_veth(veth, "eth0", request.netns, bridge_, kMtu - kOverlayOverhead); !r) return r;
      if (auto r = in_namespace(request.netns, [&] { return configure_pod(*ip); }); !r) return r;
      if (auto r = services_.add_pod(*ip); !r) return r;
      for (const HostPort& port : request.host_ports)
        if (auto r = services_.add_host_port(port, *ip); !r) return r;
      return remember_host_ports(request.id, request.host_ports);
    }();
    if (!done) {
      (void)links_.remove(veth);
      (void)ipam_.release(request.id);
      return fail(done.error());
    }
    return std::vector<std::string>{format_ipv4(*ip)};
  }

  Result<void> detach(const std::string& id) override {
    std::lock_guard lock(mutex_);
    uint32_t ip = ipam_.address_of(id);
    if (auto r = links_.remove(veth_name(options_.prefix, id)); !r) return r;
    if (ip != 0)
      if (auto r = services_.remove_pod(ip); !r) return r;
    for (const HostPort& port : recall_host_ports(id))
      if (auto r = services_.remove_host_port(port); !r) return r;
    (void)file::remove(host_ports_file(id));
    return ipam_.release(id);
  }

  std::vector<std::string> attached() override {
    std::lock_guard lock(mutex_);
    return ipam_.owners();
  }

  Result<void> set_peers(const std::vector<Peer>& peers) override {
    std::lock_guard lock(mutex_);
    std::map<std::string, Peer> wanted;
    for (const Peer& p : peers) wanted[p.node_name] = p;
    for (auto it = peers_.begin(); it != peers_.end();) {
      auto now = wanted.find(it->first);
      bool same = now != wanted.end() && now->second.node_ip == it->second.node_ip && now->second.pod_cidr == it->second.pod_cidr;
      if (!same) {
        if (auto r = change_peer(it->second, false); !r) return r;
        it = peers_.erase(it);
      } else {
        ++it;
      }
    }
    for (const auto& [name, peer] : wanted) {
      if (peers_.contains(name)) continue;
      if (auto r = change_peer(peer, true); !r) return r;
      peers_[name] = peer;
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
  Result<void> open_overlay() {
    auto local = parse_ipv4(options_.node_ip);
    if (!local || (*local >> 24) == 127) return {};  // a node alone on loopback has no peers
    std::string name = overlay_name(options_.prefix);
    // Its parameters cannot be changed in place; routes come back with set_peers().
    if (auto r = links_.remove(name); !r) return r;
    if (auto r = links_.add_vxlan(name, options_.vxlan_id, options_.vxlan_port, *local, overlay_mac(*local), kMtu - kOverlayOverhead); !r) return r;
    overlay_ = links_.index_of(name);
    set_sysctl("net/ipv4/conf/" + name + "/rp_filter", "0");
    // The overlay's own address is the network address of the node's range: unused by pods, known to the peers.
    return links_.add_address(overlay_, parse_prefix(options_.pod_cidr)->address, 32);
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

  Result<void> change_peer(const Peer& peer, bool add) {
    auto remote = parse_ipv4(peer.node_ip);
    auto range = parse_prefix(peer.pod_cidr);
    if (!remote || !range || overlay_ == 0) return {};
    Links::Route route{.to = *range, .index = overlay_, .via = range->address, .onlink = true};
    if (add) {
      if (auto r = links_.add_overlay_neighbour(overlay_, range->address, overlay_mac(*remote), *remote); !r) return r;
      return links_.add_route(route);
    }
    if (auto r = links_.remove_route(route); !r) return r;
    return links_.remove_overlay_neighbour(overlay_, range->address, overlay_mac(*remote), *remote);
  }

  std::string host_ports_file(const std::string& id) const { return options_.state_dir + "/hostports/" + id; }

  // "6 8080 80 127.0.0.1" a line.
  Result<void> remember_host_ports(const std::string& id, const std::vector<HostPort>& ports) {
    if (ports.empty()) return {};
    std::string text;
    for (const HostPort& p : ports)
      text += std::to_string(static_cast<int>(p.protocol)) + " " + std::to_string(p.host_port) + " " + std::to_string(p.container_port) + " " + p.host_ip + "\n";
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
      out.push_back({static_cast<Protocol>(parse_int<int>(parts[0]).value_or(6)), parse_int<uint16_t>(parts[1]).value_or(0), parse_int<uint16_t>(parts[2]).value_or(0), std::string(parts[3])});
    }
    return out;
  }

  const NodeNetworkOptions options_;
  Links links_;
  NetlinkSocket nft_;
  Ipam ipam_;
  ServiceTable services_;
  std::mutex mutex_;
  int bridge_ = 0, overlay_ = 0;
  std::map<std::string, Peer> peers_;
};

}  // namespace

Result<std::unique_ptr<NodeNetwork>> open_network(const NodeNetworkOptions& options) {
  auto pods = parse_prefix(options.pod_cidr);
  if (!pods || pods->length > 30) return fail(Status::bad_request("pod range \"" + options.pod_cidr + "\" is no IPv4 prefix of /30 or shorter"));
  if (!parse_prefix(options.service_cidr)) return fail(Status::bad_request("service range \"" + options.service_cidr + "\" is no IPv4 prefix"));
  if (options.prefix.empty() || options.prefix.size() > 8) return fail(Status::bad_request("network prefix \"" + options.prefix + "\" must have 1 to 8 characters"));
  auto links = Links::open();
  if (!links) return fail(links.error());
  auto nft = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!nft) return fail(nft.error());
  auto ipam = Ipam::open(options.state_dir + "/addresses", *pods);
  if (!ipam) return fail(ipam.error());
  auto network = std::make_unique<NodeNetworkImpl>(options, std::move(*links), std::move(*nft), std::move(*ipam));
  if (auto r = network->open(); !r) return fail(r.error());
  return network;
}

Result<void> remove_all(const std::string& prefix) {
  auto links = Links::open();
  if (!links) return fail(links.error());
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
  for (uint32_t ip : *addresses)
    if ((ip >> 24) != 127) return format_ipv4(ip);
  return std::string("127.0.0.1");
}

Result<bool> in_use(const std::string& cidr) {
  auto wanted = parse_prefix(cidr);
  if (!wanted) return fail(Status::bad_request("\"" + cidr + "\" is no IPv4 prefix"));
  auto links = Links::open();
  if (!links) return fail(links.error());
  auto used = links->used_prefixes();
  if (!used) return fail(used.error());
  return std::ranges::any_of(*used, [&](const Prefix& p) { return p.length >= 8 && p.overlaps(*wanted); });
}

}  // namespace kcube::net
