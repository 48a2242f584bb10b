// The chains of the service table. What they do for whom is in service_table.h.
#include "net/service_rules.h"

#include <linux/if_arp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>

#include "net/service_table.h"

namespace kcube::net {
namespace {

using namespace rules;

constexpr uint32_t kSourceOffset = 12, kDestinationOffset = 16;
constexpr uint32_t kAffinityBound = 65536;  // clients remembered; one beyond is spread anew each time

// Destination address (or zero), protocol and port into the first three registers.
NftRule load_destination(bool any_address) {
  NftRule r;
  if (any_address)
    r.immediate(kAddress, std::string(4, '\0'));
  else
    r.payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationOffset, 4, kAddress);
  r.meta(NFT_META_L4PROTO, kProtocol);
  r.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kDport);
  return r;
}

void load_affinity_key(NftRule& r, bool any_address) {
  r.payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceOffset, 4, kAffinityKey);
  if (any_address)
    r.immediate(kAffinityKey + 1, std::string(4, '\0'));
  else
    r.payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationOffset, 4, kAffinityKey + 1);
  r.meta(NFT_META_L4PROTO, kAffinityKey + 2).payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kAffinityKey + 3);
}

NftRule set_masquerade_mark() {
  NftRule r;
  r.meta(NFT_META_MARK, kScratch)
      .bitwise_or(kScratch, kScratch, host32_bytes(kMasqueradeMark))
      .set_meta(NFT_META_MARK, kScratch);
  return r;
}

void match_prefix(NftRule& r, uint32_t offset, const Prefix& prefix, bool equal = true) {
  r.payload(NFT_PAYLOAD_NETWORK_HEADER, offset, 4, kScratch);
  r.bitwise_and(kScratch, kScratch, be32_bytes(prefix.mask()));
  r.compare(equal ? NFT_CMP_EQ : NFT_CMP_NEQ, kScratch, be32_bytes(prefix.address));
}

void match_state(NftRule& r, uint32_t bits, bool any) {
  r.ct(NFT_CT_STATE, kScratch).bitwise_and(kScratch, kScratch, host32_bytes(bits));
  r.compare(any ? NFT_CMP_NEQ : NFT_CMP_EQ, kScratch, host32_bytes(0));
}

void match_tcp(NftRule& r, bool tcp) {
  r.meta(NFT_META_L4PROTO, kScratch).compare(tcp ? NFT_CMP_EQ : NFT_CMP_NEQ, kScratch, byte(IPPROTO_TCP));
}

void refuse(NftRule& r, bool tcp) { tcp ? r.reject_tcp_reset() : r.reject_port_unreachable(); }

Prefix prefix_or(const std::string& text, const Prefix& other = {}) { return parse_prefix(text).value_or(other); }

}  // namespace

void ServiceTable::create(NftTransaction& t) {
  t.add_table(shape());
  t.add_set(
      {.name = "svc", .key_type = nft_type({kIpv4, kProto, kPort}), .key_bytes = 12, .map = true, .verdict = true});
  t.add_set({.name = "np", .key_type = nft_type({kProto, kPort}), .key_bytes = 8, .map = true, .verdict = true});
  t.add_set({.name = "ep",
             .key_type = nft_type({kIpv4, kProto, kPort, kMark}),
             .key_bytes = 16,
             .data_type = nft_type({kIpv4, kPort}),
             .data_bytes = 8,
             .map = true});
  t.add_set({.name = "hp",
             .key_type = nft_type({kIpv4, kProto, kPort}),
             .key_bytes = 12,
             .data_type = nft_type({kIpv4, kPort}),
             .data_bytes = 8,
             .map = true});
  t.add_set({.name = "aff",
             .key_type = nft_type({kIpv4, kIpv4, kProto, kPort}),
             .key_bytes = 16,
             .data_type = nft_type({kIpv4, kPort}),
             .data_bytes = 8,
             .size = kAffinityBound,
             .map = true,
             .dynamic = true,
             .timeout = true});
  t.add_set({.name = "live", .key_type = nft_type({kIpv4, kProto, kPort, kIpv4, kPort}), .key_bytes = 20});
  t.add_set({.name = "none", .key_type = nft_type({kIpv4, kProto, kPort}), .key_bytes = 12});
  t.add_set({.name = "hairpin", .key_type = nft_type({kIpv4, kIpv4}), .key_bytes = 8});
  base_rules(t);
}

void ServiceTable::base_rules(NftTransaction& t) {
  auto base = [&](const char* name, const char* type, uint32_t number, int32_t priority) {
    NftHook hook{type, number, priority};
    t.add_chain(name, &hook);
  };
  for (const char* chain : {"services", "local", "refuse"}) t.add_chain(chain);
  base("prerouting", "nat", NF_INET_PRE_ROUTING, -100);
  base("output", "nat", NF_INET_LOCAL_OUT, -100);
  base("postrouting", "nat", NF_INET_POST_ROUTING, 100);
  base("input", "filter", NF_INET_LOCAL_IN, 0);
  base("forward", "filter", NF_INET_FORWARD, 0);
  // Before a route is looked for: there may be none to an external address.
  base("arriving", "filter", NF_INET_PRE_ROUTING, -110);
  base("sent", "filter", NF_INET_LOCAL_OUT, 0);
  for (const char* chain : {"prerouting", "output"}) t.add_rule(chain, NftRule().verdict(NFT_JUMP, "services"));
  address_rules(t);
  source_rules(t);
  filter_rules(t);
}

// Cluster IPs and external IPs, then the node's own addresses: host ports before node ports.
void ServiceTable::address_rules(NftTransaction& t) {
  t.add_rule("services", load_destination(false).lookup_verdict("svc", kAddress));
  // The service range is local here too, but it is not this node's.
  NftRule to_local;
  match_prefix(to_local, kDestinationOffset, prefix_or(options_.service_cidr), false);
  to_local.fib_address_type(kScratch, false)
      .compare(NFT_CMP_EQ, kScratch, host32_bytes(RTN_LOCAL))
      .verdict(NFT_JUMP, "local");
  t.add_rule("services", to_local);
  for (bool any_address : {false, true})
    t.add_rule("local", load_destination(any_address).lookup_map("hp", kAddress, kData).dnat(kData, kData + 1));
  NftRule node_port;
  node_port.meta(NFT_META_L4PROTO, kAddress)
      .payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kProtocol)
      .lookup_verdict("np", kAddress);
  t.add_rule("local", node_port);
}

// Sources are rewritten for: what was marked, a pod that reached itself, loopback to a pod, pods to the world.
void ServiceTable::source_rules(NftTransaction& t) {
  t.add_rule("postrouting", NftRule()
                                .meta(NFT_META_MARK, kScratch)
                                .bitwise_and(kScratch, kScratch, host32_bytes(kMasqueradeMark))
                                .compare(NFT_CMP_EQ, kScratch, host32_bytes(kMasqueradeMark))
                                .masquerade());
  t.add_rule("postrouting", NftRule()
                                .payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceOffset, 8, kAddress)
                                .lookup("hairpin", kAddress)
                                .masquerade());
  Prefix pods = prefix_or(options_.pod_cidr), cluster = prefix_or(options_.cluster_cidr, pods);
  NftRule loopback;
  match_prefix(loopback, kSourceOffset, {0x7f000000, 8});
  match_prefix(loopback, kDestinationOffset, {0x7f000000, 8}, false);
  t.add_rule("postrouting", loopback.masquerade());
  NftRule world;
  match_prefix(world, kSourceOffset, pods);
  match_prefix(world, kDestinationOffset, cluster, false);
  match_prefix(world, kDestinationOffset, {0xe0000000, 4}, false);  // multicast stays as it is
  t.add_rule("postrouting", world.masquerade());
}

void ServiceTable::filter_rules(NftTransaction& t) {
  // route_localnet lets answers come back to 127.0.0.1; nothing else may reach it from a link.
  NftRule loopback;
  match_prefix(loopback, kDestinationOffset, {0x7f000000, 8});
  loopback.meta(NFT_META_IIFTYPE, kScratch).compare(NFT_CMP_NEQ, kScratch, host16_bytes(ARPHRD_LOOPBACK));
  match_state(loopback, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED), false);
  t.add_rule("input", loopback.verdict(NF_DROP));
  // What still goes to the service range found no endpoint. The route of the range is local, so it arrives at input.
  for (bool tcp : {true, false}) {
    NftRule leftover;
    match_prefix(leftover, kDestinationOffset, prefix_or(options_.service_cidr));
    if (auto dns = parse_ipv4(options_.dns_vip))
      leftover.payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationOffset, 4, kScratch)
          .compare(NFT_CMP_NEQ, kScratch, be32_bytes(*dns));
    match_tcp(leftover, tcp);
    refuse(leftover, tcp);
    t.add_rule("input", leftover);
    NftRule external;
    match_tcp(external, tcp);
    refuse(external, tcp);
    t.add_rule("refuse", external);
  }
  // Late packets of a translated connection would leave with the wrong address and reset it at the peer.
  Prefix cluster = prefix_or(options_.cluster_cidr, prefix_or(options_.pod_cidr));
  for (uint32_t offset : {kSourceOffset, kDestinationOffset}) {
    NftRule invalid;
    match_state(invalid, NF_CT_STATE_INVALID_BIT, true);
    match_prefix(invalid, offset, cluster);
    t.add_rule("forward", invalid.verdict(NF_DROP));
  }
  for (const char* chain : {"arriving", "sent"}) {
    NftRule external;
    match_state(external, NF_CT_STATE_BIT(IP_CT_NEW), true);
    external.payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationOffset, 4, kAddress).meta(NFT_META_L4PROTO, kProtocol);
    external.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kDport).lookup("none", kAddress).verdict(NFT_GOTO, "refuse");
    t.add_rule(chain, external);
  }
}

// "n3" spreads over three; z: of any address; a60: with affinity of a minute; m: masquerades; "e1-3": one of three
// local.
std::string ServiceTable::chain_for(const Spread& s, NftTransaction& t) {
  if (!s.sources.empty()) return guarded_chain_for(s, t);
  std::string suffix =
      std::string(s.any_address ? "z" : "") + (s.affinity_seconds > 0 ? "a" + std::to_string(s.affinity_seconds) : "");
  std::string name = (s.local_only ? "e" + std::to_string(s.local) + "-" : "n") + std::to_string(s.endpoints) + suffix +
                     (s.masquerade ? "m" : "");
  if (!chains_.insert(name).second) return name;
  fresh_chains_.push_back(name);
  Spread all = s, local = s;
  all.masquerade = all.local_only = local.masquerade = local.local_only = false;
  local.endpoints = s.local;
  if (s.local_only) {
    std::string plain = chain_for(all, t);
    all.masquerade = true;
    std::string marked = chain_for(all, t), outside = s.local > 0 ? chain_for(local, t) : "";
    t.add_chain(name);
    t.flush_chain(name);
    // Pods and the node itself are inside: they see what the cluster address shows.
    NftRule pods, node;
    match_prefix(pods, kSourceOffset, prefix_or(options_.cluster_cidr));
    t.add_rule(name, pods.verdict(NFT_GOTO, plain));
    node.fib_address_type(kScratch, true).compare(NFT_CMP_EQ, kScratch, host32_bytes(RTN_LOCAL));
    t.add_rule(name, node.verdict(NFT_GOTO, marked));
    t.add_rule(name, s.local > 0 ? NftRule().verdict(NFT_GOTO, outside) : NftRule().verdict(NF_DROP));
    return name;
  }
  std::string plain = s.masquerade ? chain_for(all, t) : "";
  t.add_chain(name);
  t.flush_chain(name);  // one of a former process may be there
  if (s.masquerade) {
    t.add_rule(name, set_masquerade_mark());
    t.add_rule(name, NftRule().verdict(NFT_GOTO, plain));
  } else if (s.affinity_seconds > 0) {
    affinity_rules(name, s, t);
  } else {
    t.add_rule(name, load_destination(s.any_address)
                         .random(static_cast<uint32_t>(s.endpoints), kIndex)
                         .lookup_map("ep", kAddress, kData)
                         .dnat(kData, kData + 1));
  }
  return name;
}

// Named after what it holds, so that services with the same ranges share it.
std::string ServiceTable::guarded_chain_for(const Spread& s, NftTransaction& t) {
  Spread open = s;
  open.sources.clear();
  std::string inner = chain_for(open, t), ranges;
  for (const Prefix& p : s.sources) ranges += format_ipv4(p.address) + "/" + std::to_string(p.length) + ",";
  std::string name = "f" + std::to_string(stable_hash(ranges)) + inner;
  if (!chains_.insert(name).second) return name;
  fresh_chains_.push_back(name);
  t.add_chain(name);
  t.flush_chain(name);
  for (const Prefix& p : s.sources) {
    NftRule welcome;
    match_prefix(welcome, kSourceOffset, p);
    t.add_rule(name, welcome.verdict(NFT_GOTO, inner));
  }
  t.add_rule(name, NftRule().verdict(NF_DROP));
  return name;
}

void ServiceTable::affinity_rules(const std::string& chain, const Spread& s, NftTransaction& t) {
  uint64_t timeout_ms = uint64_t{s.affinity_seconds} * 1000;
  // A client seen before goes where it went while that endpoint lives; the entry is renewed.
  NftRule again = load_destination(s.any_address);
  load_affinity_key(again, s.any_address);
  again.lookup_map("aff", kAffinityKey, kRemembered).lookup("live", kAddress);
  t.add_rule(chain, again.update_map("aff", kAffinityKey, kRemembered, timeout_ms).dnat(kRemembered, kRemembered + 1));
  NftRule fresh = load_destination(s.any_address)
                      .random(static_cast<uint32_t>(s.endpoints), kIndex)
                      .lookup_map("ep", kAddress, kData);
  load_affinity_key(fresh, s.any_address);
  t.add_rule(chain, fresh.remove_from_map("aff", kAffinityKey, kData)
                        .update_map("aff", kAffinityKey, kData, timeout_ms)
                        .dnat(kData, kData + 1));
  // The memory may be full.
  t.add_rule(chain, load_destination(s.any_address)
                        .random(static_cast<uint32_t>(s.endpoints), kIndex)
                        .lookup_map("ep", kAddress, kData)
                        .dnat(kData, kData + 1));
}

}  // namespace kcube::net
