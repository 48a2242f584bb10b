#include "net/service_table.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>

namespace kcube::net {
namespace {

// What nft shows for the keys; the kernel looks at lengths only.
constexpr uint32_t kIpv4 = 7, kProto = 12, kPort = 13, kMark = 19;
constexpr uint32_t kMasqueradeMark = 0x4000;   // as kube-proxy's

// Registers: the key of `ep` in 0…3, its data in 4 and 5, scratch above.
constexpr NftRule::Reg kAddress = 0, kProtocol = 1, kDport = 2, kIndex = 3, kData = 4, kScratch = 8, kAffinityKey = 8, kAffinityData = 12;

std::string byte(uint8_t b) { return std::string(1, static_cast<char>(b)); }

std::string proto_bytes(Protocol p) { return byte(static_cast<uint8_t>(p)); }

std::string service_address_key(uint32_t ip, Protocol protocol, uint16_t port) { return nft_key({be32_bytes(ip), proto_bytes(protocol), be16_bytes(port)}); }

std::string endpoint_key(uint32_t ip, Protocol protocol, uint16_t port, uint32_t index) {
  return nft_key({be32_bytes(ip), proto_bytes(protocol), be16_bytes(port), host32_bytes(index)});
}

std::string endpoint_data(const Endpoint& e) { return nft_key({be32_bytes(parse_ipv4(e.ip).value_or(0)), be16_bytes(e.port)}); }

// Destination address (or zero), protocol and port into the first three registers.
NftRule load_destination(bool any_address) {
  NftRule r;
  if (any_address) r.immediate(kAddress, std::string(4, '\0'));
  else r.payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4, kAddress);
  r.meta(NFT_META_L4PROTO, kProtocol);
  r.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kDport);
  return r;
}

NftRule set_masquerade_mark() {
  NftRule r;
  r.meta(NFT_META_MARK, kScratch).bitwise_or(kScratch, kScratch, host32_bytes(kMasqueradeMark)).set_meta(NFT_META_MARK, kScratch);
  return r;
}

NftHook hook(const char* type, uint32_t number, int32_t priority) { return {type, number, priority}; }

// A prefix compare on an address in `reg`.
void match_prefix(NftRule& r, uint32_t offset, const Prefix& prefix, bool equal) {
  r.payload(NFT_PAYLOAD_NETWORK_HEADER, offset, 4, kScratch);
  r.bitwise_and(kScratch, kScratch, be32_bytes(prefix.mask()));
  r.compare(equal ? NFT_CMP_EQ : NFT_CMP_NEQ, kScratch, be32_bytes(prefix.address));
}
constexpr uint32_t kSourceOffset = 12, kDestinationOffset = 16;

void match_l4(NftRule& r, uint8_t protocol, bool equal = true) {
  r.meta(NFT_META_L4PROTO, kScratch).compare(equal ? NFT_CMP_EQ : NFT_CMP_NEQ, kScratch, byte(protocol));
}

}  // namespace

Result<void> ServiceTable::open() {
  NftTransaction t(options_.prefix);
  // Made anew in one transaction: flows that are established do not pass through nat chains again, so nothing breaks.
  t.add_table();
  t.delete_table();
  t.add_table();
  t.add_set({.name = "svc", .key_type = nft_type({kIpv4, kProto, kPort}), .key_bytes = 12, .map = true, .verdict = true});
  t.add_set({.name = "np", .key_type = nft_type({kProto, kPort}), .key_bytes = 8, .map = true, .verdict = true});
  t.add_set({.name = "ep", .key_type = nft_type({kIpv4, kProto, kPort, kMark}), .key_bytes = 16, .data_type = nft_type({kIpv4, kPort}), .data_bytes = 8, .map = true});
  t.add_set({.name = "hp", .key_type = nft_type({kIpv4, kProto, kPort}), .key_bytes = 12, .data_type = nft_type({kIpv4, kPort}), .data_bytes = 8, .map = true});
  t.add_set({.name = "aff", .key_type = nft_type({kIpv4, kIpv4, kProto, kPort}), .key_bytes = 16, .data_type = kMark, .data_bytes = 4, .map = true, .dynamic = true, .timeout = true});
  t.add_set({.name = "hairpin", .key_type = nft_type({kIpv4, kIpv4}), .key_bytes = 8});
  base_rules(t);
  return t.commit(socket_, "make nf_tables table " + options_.prefix);
}

void ServiceTable::base_rules(NftTransaction& t) {
  t.add_chain("services");
  for (const char* chain : {"prerouting", "output"}) {
    NftHook h = hook("nat", chain == std::string_view("output") ? NF_INET_LOCAL_OUT : NF_INET_PRE_ROUTING, -100);
    t.add_chain(chain, &h);
    t.add_rule(chain, NftRule().verdict(NFT_JUMP, "services"));
  }
  NftHook post = hook("nat", NF_INET_POST_ROUTING, 100);
  t.add_chain("postrouting", &post);
  NftHook input = hook("filter", NF_INET_LOCAL_IN, 0);
  t.add_chain("input", &input);
  NftHook forward = hook("filter", NF_INET_FORWARD, 0);
  t.add_chain("forward", &forward);

  // Cluster IPs and external IPs, then the node's own addresses: host ports before node ports.
  t.add_rule("services", load_destination(false).lookup_verdict("svc", kAddress));
  t.add_chain("local");
  NftRule to_local;
  to_local.fib_address_type(kScratch).compare(NFT_CMP_EQ, kScratch, host32_bytes(RTN_LOCAL)).verdict(NFT_JUMP, "local");
  t.add_rule("services", to_local);
  for (bool any_address : {false, true}) {
    NftRule host_port = load_destination(any_address);
    // The mark is set first and does no harm when no host port matches: only translated flows are masqueraded.
    host_port.lookup_map("hp", kAddress, kData).dnat(kData, kData + 1);
    t.add_rule("local", host_port);
  }
  NftRule node_port;
  node_port.meta(NFT_META_L4PROTO, kAddress).payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kProtocol).lookup_verdict("np", kAddress);
  t.add_rule("local", node_port);

  // Sources are rewritten for: what was marked, a pod that reached itself, loopback to a pod, pods to the world.
  t.add_rule("postrouting", NftRule().meta(NFT_META_MARK, kScratch).bitwise_and(kScratch, kScratch, host32_bytes(kMasqueradeMark))
                                .compare(NFT_CMP_EQ, kScratch, host32_bytes(kMasqueradeMark)).masquerade());
  t.add_rule("postrouting", NftRule().payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceOffset, 8, kAddress).lookup("hairpin", kAddress).masquerade());
  Prefix pods = parse_prefix(options_.pod_cidr).value_or(Prefix{}), cluster = parse_prefix(options_.cluster_cidr).value_or(pods);
  NftRule loopback;
  match_prefix(loopback, kSourceOffset, {0x7f000000, 8}, true);
  match_prefix(loopback, kDestinationOffset, cluster, true);
  t.add_rule("postrouting", loopback.masquerade());
  NftRule world;
  match_prefix(world, kSourceOffset, pods, true);
  match_prefix(world, kDestinationOffset, cluster, false);
  // Multicast stays as it is.
  match_prefix(world, kDestinationOffset, {0xe0000000, 4}, false);
  t.add_rule("postrouting", world.masquerade());

  // What still goes to the service range found no endpoint. The route of the range is local, so it arrives at input.
  Prefix services = parse_prefix(options_.service_cidr).value_or(Prefix{});
  uint32_t dns = parse_ipv4(options_.dns_vip).value_or(0);
  for (bool tcp : {true, false}) {
    NftRule refuse;
    match_prefix(refuse, kDestinationOffset, services, true);
    if (dns != 0) refuse.payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationOffset, 4, kScratch).compare(NFT_CMP_NEQ, kScratch, be32_bytes(dns));
    match_l4(refuse, IPPROTO_TCP, tcp);
    tcp ? refuse.reject_tcp_reset() : refuse.reject_port_unreachable();
    t.add_rule("input", refuse);
  }
  // Pods may be routed to and from whatever the host's own policy says elsewhere.
  for (uint32_t offset : {kSourceOffset, kDestinationOffset}) {
    NftRule pass;
    match_prefix(pass, offset, cluster, true);
    t.add_rule("forward", pass.accept());
  }
}

std::string ServiceTable::chain_for(size_t endpoints, bool any_address, bool masquerade, uint32_t affinity_seconds, NftTransaction& t) {
  std::string name = "n" + std::to_string(endpoints) + (any_address ? "z" : "") + (masquerade ? "m" : "") +
                     (affinity_seconds > 0 ? "a" + std::to_string(affinity_seconds) : "");
  if (!chains_.insert(name).second) return name;
  t.add_chain(name);
  if (masquerade) t.add_rule(name, set_masquerade_mark());
  auto n = static_cast<uint32_t>(endpoints);
  if (affinity_seconds > 0) {
    auto load_affinity_key = [&](NftRule& r) -> NftRule& {
      r.payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceOffset, 4, kAffinityKey);
      if (any_address) r.immediate(kAffinityKey + 1, std::string(4, '\0'));
      else r.payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationOffset, 4, kAffinityKey + 1);
      return r.meta(NFT_META_L4PROTO, kAffinityKey + 2).payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kAffinityKey + 3);
    };
    uint64_t timeout_ms = uint64_t{affinity_seconds} * 1000;
    // A client seen before goes where it went; the entry is renewed. An index beyond the endpoints falls through.
    NftRule again;
    load_affinity_key(again).lookup_map("aff", kAffinityKey, kIndex);
    again.payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationOffset, 4, kAddress);
    if (any_address) again.immediate(kAddress, std::string(4, '\0'));
    again.meta(NFT_META_L4PROTO, kProtocol).payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kDport);
    again.lookup_map("ep", kAddress, kData).update_map("aff", kAffinityKey, kIndex, timeout_ms).dnat(kData, kData + 1);
    t.add_rule(name, again);
    NftRule fresh = load_destination(any_address);
    fresh.random(n, kIndex);
    load_affinity_key(fresh).update_map("aff", kAffinityKey, kIndex, timeout_ms);
    fresh.lookup_map("ep", kAddress, kData).dnat(kData, kData + 1);
    t.add_rule(name, fresh);
    return name;
  }
  t.add_rule(name, load_destination(any_address).random(n, kIndex).lookup_map("ep", kAddress, kData).dnat(kData, kData + 1));
  return name;
}

ServiceTable::Elements ServiceTable::elements_of(const ServicePort& s, NftTransaction& chains) {
  Elements out;
  std::vector<Endpoint> local;
  std::ranges::copy_if(s.endpoints, std::back_inserter(local), &Endpoint::local);
  auto add = [&](uint32_t address, const std::vector<Endpoint>& endpoints) {
    for (uint32_t i = 0; i < endpoints.size(); ++i) out.endpoints.push_back({endpoint_key(address, s.protocol, address == 0 ? s.node_port : s.port, i), endpoint_data(endpoints[i]), {}});
  };
  const auto& internal = s.internal_local ? local : s.endpoints;
  for (const std::string& text : s.cluster_ips) {
    auto ip = parse_ipv4(text);
    if (!ip || internal.empty()) continue;
    add(*ip, internal);
    out.verdicts.push_back({service_address_key(*ip, s.protocol, s.port), {}, chain_for(internal.size(), false, false, s.affinity_seconds, chains)});
  }
  const auto& external = s.external_local ? local : s.endpoints;
  for (const std::string& text : s.external_ips) {
    auto ip = parse_ipv4(text);
    if (!ip || external.empty()) continue;
    add(*ip, external);
    out.verdicts.push_back({service_address_key(*ip, s.protocol, s.port), {}, chain_for(external.size(), false, !s.external_local, s.affinity_seconds, chains)});
  }
  if (s.node_port != 0 && !external.empty()) {
    add(0, external);
    out.node_ports.push_back({nft_key({proto_bytes(s.protocol), be16_bytes(s.node_port)}), {}, chain_for(external.size(), true, !s.external_local, s.affinity_seconds, chains)});
  }
  return out;
}

Result<void> ServiceTable::apply(const std::vector<ServicePort>& set, const std::vector<std::string>& remove) {
  NftTransaction t(options_.prefix);
  std::map<std::string, Elements> fresh;
  std::vector<uint32_t> gone_udp;
  auto endpoints_of = [](const ServicePort& s) {
    std::set<std::string> out;
    for (const Endpoint& e : s.endpoints) out.insert(e.ip);
    return out;
  };
  auto lost = [&](const ServicePort& before, const ServicePort* now) {
    if (before.protocol != Protocol::udp) return;
    std::set<std::string> still = now == nullptr ? std::set<std::string>() : endpoints_of(*now);
    for (const std::string& ip : endpoints_of(before))
      if (!still.contains(ip)) gone_udp.push_back(parse_ipv4(ip).value_or(0));
  };
  Elements drop, add;
  auto append = [](Elements& to, const Elements& from) {
    to.verdicts.insert(to.verdicts.end(), from.verdicts.begin(), from.verdicts.end());
    to.endpoints.insert(to.endpoints.end(), from.endpoints.begin(), from.endpoints.end());
    to.node_ports.insert(to.node_ports.end(), from.node_ports.begin(), from.node_ports.end());
  };
  auto drop_old = [&](const std::string& key, const ServicePort* now) {
    auto it = programmed_.find(key);
    if (it != programmed_.end()) append(drop, it->second);
    if (auto s = services_.find(key); s != services_.end()) lost(s->second, now);
  };
  for (const ServicePort& s : set) {
    drop_old(s.key, &s);
    Elements e = elements_of(s, t);
    append(add, e);
    fresh[s.key] = std::move(e);
  }
  for (const std::string& key : remove) drop_old(key, nullptr);
  t.delete_elements("svc", drop.verdicts);
  t.delete_elements("np", drop.node_ports);
  t.delete_elements("ep", drop.endpoints);
  t.add_elements("ep", add.endpoints);
  t.add_elements("np", add.node_ports);
  t.add_elements("svc", add.verdicts);
  if (auto r = t.commit(socket_, "change services"); !r) {
    // Chains named in a failed transaction do not exist.
    chains_.clear();
    return r;
  }
  for (const std::string& key : remove) {
    programmed_.erase(key);
    services_.erase(key);
  }
  for (const ServicePort& s : set) {
    services_[s.key] = s;
    programmed_[s.key] = std::move(fresh[s.key]);
  }
  if (!gone_udp.empty()) return forget_udp_flows(gone_udp);
  return {};
}

Result<void> ServiceTable::add_host_port(const HostPort& port, uint32_t pod_ip) {
  NftTransaction t(options_.prefix);
  uint32_t ip = parse_ipv4(port.host_ip).value_or(0);
  t.add_elements("hp", {{service_address_key(ip, port.protocol, port.host_port), nft_key({be32_bytes(pod_ip), be16_bytes(port.container_port)}), {}}});
  return t.commit(socket_, "add host port " + std::to_string(port.host_port));
}

Result<void> ServiceTable::remove_host_port(const HostPort& port) {
  NftTransaction t(options_.prefix);
  t.delete_elements("hp", {{service_address_key(parse_ipv4(port.host_ip).value_or(0), port.protocol, port.host_port), {}, {}}});
  auto r = t.commit(socket_, "remove host port " + std::to_string(port.host_port));
  if (!r && r.error().os_error() == ENOENT) return {};
  return r;
}

Result<void> ServiceTable::add_pod(uint32_t ip) {
  NftTransaction t(options_.prefix);
  t.add_elements("hairpin", {{nft_key({be32_bytes(ip), be32_bytes(ip)}), {}, {}}});
  return t.commit(socket_, "add pod " + format_ipv4(ip));
}

Result<void> ServiceTable::remove_pod(uint32_t ip) {
  NftTransaction t(options_.prefix);
  t.delete_elements("hairpin", {{nft_key({be32_bytes(ip), be32_bytes(ip)}), {}, {}}});
  auto r = t.commit(socket_, "remove pod " + format_ipv4(ip));
  if (!r && r.error().os_error() == ENOENT) return {};
  return r;
}

}  // namespace kcube::net
