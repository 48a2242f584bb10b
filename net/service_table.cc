#include "net/service_table.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>

#include "net/service_rules.h"
#include "pkg/base/log.h"

namespace kcube::net {
namespace {

using namespace rules;

constexpr const char* kVersion = "kcube-1";  // of the chains' shape: another one makes the table anew

std::set<AddressPort> answerers(const ServicePort* s) {
  std::set<AddressPort> out;
  if (s != nullptr)
    for (const Endpoint& e : s->endpoints) out.insert({parse_ipv4(e.ip).value_or(0), e.port});
  return out;
}

// Addresses as clients name them, node ports under address zero.
std::set<AddressPort> destinations(const ServicePort* s) {
  std::set<AddressPort> out;
  if (s == nullptr) return out;
  for (const auto* ips : {&s->cluster_ips, &s->external_ips, &s->load_balancer_ips})
    for (const std::string& text : *ips)
      if (auto ip = parse_ipv4(text)) out.insert({*ip, s->port});
  if (s->node_port != 0) out.insert({0, s->node_port});
  return out;
}

NftElement hairpin_element(uint32_t ip) { return {nft_key({be32_bytes(ip), be32_bytes(ip)}), {}, {}}; }

NftElement host_port_element(const HostPort& port, uint32_t pod_ip) {
  return {destination_key(parse_ipv4(port.host_ip).value_or(0), port.protocol, port.host_port),
          target_bytes(pod_ip, port.container_port),
          {}};
}

FlowTargets flows_of(const std::vector<HostPort>& ports, uint32_t pod_ip) {
  FlowTargets out;
  for (const HostPort& p : ports) {
    if (p.protocol != Protocol::udp) continue;
    auto& allowed = out[{parse_ipv4(p.host_ip).value_or(0), p.host_port}];
    if (pod_ip != 0) allowed.insert({pod_ip, p.container_port});
  }
  return out;
}

}  // namespace

std::string ServiceTable::shape() const {
  return std::string(kVersion) + " " + options_.pod_cidr + " " + options_.cluster_cidr + " " + options_.service_cidr +
         " " + options_.dns_vip;
}

Result<std::string> ServiceTable::existing_shape() {
  NetlinkMessage m;
  nfgenmsg header{};
  header.nfgen_family = NFPROTO_IPV4;
  m.begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, 0, header);
  m.put_string(NFTA_TABLE_NAME, options_.prefix);
  std::string out;
  auto r = socket_.dump(m, "find nf_tables table " + options_.prefix, [&](const NetlinkReply& reply) {
    if (reply.payload.size() < sizeof header) return;
    for_each_attribute(reply.payload.substr(sizeof header), [&](uint16_t type, std::string_view data) {
      if (type == NFTA_TABLE_USERDATA) out = data;
    });
  });
  if (!r && r.error().os_error() != ENOENT) return fail(r.error());
  return out;
}

Result<void> ServiceTable::open(const PodPorts& pods) {
  auto existing = existing_shape();
  if (!existing) return fail(existing.error());
  adopted_ = *existing == shape();
  NftTransaction t(options_.prefix);
  if (adopted_) {
    t.flush_set("hairpin");
    t.flush_set("hp");
  } else {
    // Made anew in one transaction: flows that are established do not pass through nat chains again, so nothing breaks.
    t.add_table();
    t.delete_table();
    create(t);
  }
  pods_.clear();
  host_ports_.clear();
  for (const auto& [ip, ports] : pods) {
    if (pods_.insert(ip).second) t.add_elements("hairpin", {hairpin_element(ip)});
    for (const HostPort& port : ports) {
      NftElement e = host_port_element(port, ip);
      if (host_ports_.emplace(e.key, e.data).second) t.add_elements("hp", {e});
    }
  }
  return t.commit(socket_, "make nf_tables table " + options_.prefix);
}

void ServiceTable::Elements::append(const Elements& other) {
  auto add = [](std::vector<NftElement>& to, const std::vector<NftElement>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  add(services, other.services);
  add(node_ports, other.node_ports);
  add(endpoints, other.endpoints);
  add(live, other.live);
  add(none, other.none);
}

// Two services may name the same external address; the first has it, the others wait for it.
bool ServiceTable::claim(const std::string& what, Programmed& by) {
  auto [it, fresh] = claims_.emplace(what, by.service.key);
  if (fresh) {
    by.claims.push_back(what);
    return true;
  }
  if (it->second != by.service.key) {
    if (!contested_.contains(by.service.key))
      log::warn("net", "address and port belong to another service",
                {{"service", by.service.key}, {"owner", it->second}});
    by.contested = true;
  }
  return false;
}

void ServiceTable::add_destination(Programmed& to, uint32_t address, const std::vector<Endpoint>& endpoints,
                                   const Spread& spread, NftTransaction& t) {
  const ServicePort& s = to.service;
  uint16_t port = spread.any_address ? s.node_port : s.port;
  std::string key = destination_key(address, s.protocol, port);
  if (!claim(key, to)) return;
  if (endpoints.empty()) {
    if (spread.external) to.elements.none.push_back({key, {}, {}});
    return;
  }
  for (uint32_t i = 0; i < endpoints.size(); ++i) {
    std::string target = target_bytes(parse_ipv4(endpoints[i].ip).value_or(0), endpoints[i].port);
    to.elements.endpoints.push_back({key + host32_bytes(i), target, {}});
    if (s.affinity_seconds > 0) to.elements.live.push_back({key + target, {}, {}});
  }
  std::string chain = chain_for(spread, t);
  if (spread.any_address)
    to.elements.node_ports.push_back({nft_key({proto_bytes(s.protocol), be16_bytes(port)}), {}, chain});
  else
    to.elements.services.push_back({key, {}, chain});
}

ServiceTable::Programmed ServiceTable::program(const ServicePort& s, NftTransaction& t) {
  Programmed out;
  out.service = s;
  // Local endpoints first, so that "local only" is a shorter range of the same list.
  std::vector<Endpoint> all = s.endpoints;
  std::ranges::stable_partition(all, &Endpoint::local);
  auto locals = static_cast<size_t>(std::ranges::count_if(all, &Endpoint::local));
  std::vector<Endpoint> internal(all.begin(),
                                 s.internal_local ? all.begin() + static_cast<ptrdiff_t>(locals) : all.end());
  Spread inside{.endpoints = internal.size(), .affinity_seconds = s.affinity_seconds};
  Spread outside{.endpoints = all.size(),
                 .masquerade = !s.external_local,
                 .affinity_seconds = s.affinity_seconds,
                 .external = true,
                 .local_only = s.external_local,
                 .local = locals};
  for (const std::string& text : s.cluster_ips)
    if (auto ip = parse_ipv4(text)) add_destination(out, *ip, internal, inside, t);
  for (const std::string& text : s.external_ips)
    if (auto ip = parse_ipv4(text)) add_destination(out, *ip, all, outside, t);
  Spread guarded = outside;
  for (const std::string& text : s.source_ranges)
    if (auto range = parse_prefix(text)) guarded.sources.push_back(*range);
  for (const std::string& text : s.load_balancer_ips)
    if (auto ip = parse_ipv4(text)) add_destination(out, *ip, all, guarded, t);
  outside.any_address = true;
  outside.external = false;
  if (s.node_port != 0) add_destination(out, 0, all, outside, t);
  return out;
}

void ServiceTable::release(const std::string& key) {
  auto it = programmed_.find(key);
  if (it == programmed_.end()) return;
  for (const std::string& what : it->second.claims) claims_.erase(what);
}

void ServiceTable::restore_claims() {
  claims_.clear();
  for (const auto& [key, p] : programmed_)
    for (const std::string& what : p.claims) claims_[what] = key;
}

// Flows that an old endpoint, or nobody, answers for what `now` serves.
void ServiceTable::collect_flows(FlowTargets& targets, const ServicePort* before, const ServicePort* now) {
  if ((before == nullptr || before->protocol != Protocol::udp) && (now == nullptr || now->protocol != Protocol::udp))
    return;
  auto old_answer = answerers(before), new_answer = answerers(now);
  auto old_names = destinations(before), new_names = destinations(now);
  bool only_more = !old_answer.empty() && old_names == new_names && std::ranges::includes(new_answer, old_answer);
  if (only_more) return;
  for (const AddressPort& name : new_names) targets[name] = new_answer;
  for (const AddressPort& name : old_names) targets.emplace(name, std::set<AddressPort>());
}

Result<void> ServiceTable::apply(const std::vector<ServicePort>& set, const std::vector<std::string>& remove) {
  std::map<std::string, const ServicePort*> touched;  // null: removed
  for (const std::string& key : remove) touched[key] = nullptr;
  for (const ServicePort& s : set) touched[s.key] = &s;
  for (const auto& [key, now] : touched) release(key);
  // What is free now may be what others wait for; they come last, owners first.
  std::vector<std::string> order;
  auto rank = [&](const std::string& key) { return contested_.contains(key) ? 2 : programmed_.contains(key) ? 0 : 1; };
  for (const std::string& key : contested_)
    if (!touched.contains(key)) {
      release(key);
      touched[key] = &programmed_.at(key).service;
    }
  for (const auto& [key, now] : touched) order.push_back(key);
  std::ranges::stable_sort(order, {}, rank);

  NftTransaction t(options_.prefix);
  fresh_chains_.clear();
  Elements drop, add;
  FlowTargets flows;
  std::map<std::string, Programmed> fresh;
  for (const std::string& key : order) {
    const ServicePort* now = touched[key];
    auto it = programmed_.find(key);
    if (it != programmed_.end()) drop.append(it->second.elements);
    if (now != nullptr) add.append((fresh[key] = program(*now, t)).elements);
    collect_flows(flows, it == programmed_.end() ? nullptr : &it->second.service, now);
  }
  for (auto [name, elements] : {std::pair("svc", &Elements::services),
                                {"np", &Elements::node_ports},
                                {"ep", &Elements::endpoints},
                                {"live", &Elements::live},
                                {"none", &Elements::none}}) {
    if (adopted_)
      t.flush_set(name);
    else
      t.delete_elements(name, drop.*elements);
    t.add_elements(name, add.*elements);
  }
  if (auto r = t.commit(socket_, "change services"); !r) {
    for (const std::string& chain : fresh_chains_) chains_.erase(chain);
    restore_claims();
    return r;
  }
  adopted_ = false;
  for (const auto& [key, now] : touched) {
    contested_.erase(key);
    if (now == nullptr) programmed_.erase(key);
  }
  for (auto& [key, p] : fresh) {
    if (p.contested) contested_.insert(key);
    programmed_[key] = std::move(p);
  }
  if (flows.empty()) return {};
  return forget_udp_flows(socket_, flows);
}

Result<void> ServiceTable::add_pod(uint32_t ip, const std::vector<HostPort>& ports) {
  NftTransaction t(options_.prefix);
  Host fresh;
  for (const HostPort& port : ports) {
    NftElement e = host_port_element(port, ip);
    auto taken = host_ports_.find(e.key);
    if (taken != host_ports_.end() && taken->second != e.data)
      return fail(Status::already_exists("host port " + std::to_string(port.host_port) + " belongs to another pod"));
    if (taken == host_ports_.end() && fresh.emplace(e.key, e.data).second) t.add_elements("hp", {e});
  }
  if (!pods_.contains(ip)) t.add_elements("hairpin", {hairpin_element(ip)});
  if (auto r = t.commit(socket_, "add pod " + format_ipv4(ip)); !r) return r;
  pods_.insert(ip);
  host_ports_.merge(fresh);
  FlowTargets flows = flows_of(ports, ip);
  return flows.empty() ? Result<void>() : forget_udp_flows(socket_, flows);
}

Result<void> ServiceTable::remove_pod(uint32_t ip, const std::vector<HostPort>& ports) {
  NftTransaction t(options_.prefix);
  std::set<std::string> gone;
  for (const HostPort& port : ports) {
    NftElement e = host_port_element(port, ip);
    auto it = host_ports_.find(e.key);
    if (it != host_ports_.end() && it->second == e.data && gone.insert(e.key).second) t.delete_elements("hp", {e});
  }
  if (pods_.contains(ip)) t.delete_elements("hairpin", {hairpin_element(ip)});
  if (auto r = t.commit(socket_, "remove pod " + format_ipv4(ip)); !r) return r;
  pods_.erase(ip);
  for (const std::string& key : gone) host_ports_.erase(key);
  FlowTargets flows = gone.empty() ? FlowTargets() : flows_of(ports, 0);
  return flows.empty() ? Result<void>() : forget_udp_flows(socket_, flows);
}

}  // namespace kcube::net
