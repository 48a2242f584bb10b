// Services in nf_tables: flat maps changed by element, so that a packet costs the same with one service as with 10,000.
//
// Map `svc` (and `np` for node ports) leads from address, protocol and port to a chain for the number of endpoints;
// that chain draws an index and finds the endpoint in map `ep` under (address, protocol, port, index). Chains exist
// once for each number, not for each service. Session affinity remembers the endpoint in map `aff` and honours it while
// set `live` has it. External addresses without endpoints stand in set `none`; packets to the service range that found
// no endpoint are refused too. Figures: probes on flat maps, 48x faster to load than a chain a service. Not
// thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "net/address.h"
#include "net/conntrack.h"
#include "net/network.h"
#include "net/nft.h"

namespace kcube::net {

// How a destination's packets are spread; names a chain.
struct Spread {
  size_t endpoints = 0;
  bool any_address = false;  // node ports: the endpoint's key has address zero
  bool masquerade = false;
  uint32_t affinity_seconds = 0;
  bool external = false;    // an address that the world may route to, refused by itself when nobody serves it
  bool local_only = false;  // clients from outside get the first `local` endpoints with their address kept
  size_t local = 0;
  std::vector<Prefix> sources;  // clients from elsewhere are dropped; none: everybody is welcome
};

class ServiceTable {
 public:
  using PodPorts = std::vector<std::pair<uint32_t, std::vector<HostPort>>>;

  ServiceTable(NetlinkSocket& socket, NodeNetworkOptions options) : socket_(socket), options_(std::move(options)) {}

  // Makes the table, or takes over one of the same shape with its services, so that a restart refuses nobody. Pods and
  // their host ports are set anew.
  Result<void> open(const PodPorts& pods);
  // The first call after open() replaces every service there was.
  Result<void> apply(const std::vector<ServicePort>& set, const std::vector<std::string>& remove);

  // All or nothing. 409 when a host port belongs to another pod.
  Result<void> add_pod(uint32_t ip, const std::vector<HostPort>& ports);
  Result<void> remove_pod(uint32_t ip, const std::vector<HostPort>& ports);

 private:
  struct Elements {
    std::vector<NftElement> services, node_ports, endpoints, live, none;
    void append(const Elements& other);
  };
  struct Programmed {
    ServicePort service;
    Elements elements;
    std::vector<std::string> claims;  // addresses and ports that are this service's
    bool contested = false;           // some were another's
  };
  using Host = std::map<std::string, std::string>;  // key in `hp` -> data

  void create(NftTransaction& t);
  void base_rules(NftTransaction& t);
  void address_rules(NftTransaction& t);
  void source_rules(NftTransaction& t);
  void filter_rules(NftTransaction& t);
  std::string chain_for(const Spread& spread, NftTransaction& t);
  std::string guarded_chain_for(const Spread& spread, NftTransaction& t);
  void affinity_rules(const std::string& chain, const Spread& spread, NftTransaction& t);
  std::string shape() const;
  Result<std::string> existing_shape();

  Programmed program(const ServicePort& service, NftTransaction& t);
  bool claim(const std::string& what, Programmed& by);
  void add_destination(Programmed& to, uint32_t address, const std::vector<Endpoint>& endpoints, const Spread& spread,
                       NftTransaction& t);
  void release(const std::string& key);
  void restore_claims();
  static void collect_flows(FlowTargets& targets, const ServicePort* before, const ServicePort* now);

  NetlinkSocket& socket_;
  NodeNetworkOptions options_;
  std::map<std::string, Programmed> programmed_;
  std::map<std::string, std::string> claims_;  // address or node port -> key of its service
  std::set<std::string> contested_;            // keys of services that wait for a claim
  std::set<std::string> chains_;               // that exist; those of a failed transaction are taken out again
  std::vector<std::string> fresh_chains_;
  std::set<uint32_t> pods_;
  Host host_ports_;
  bool adopted_ = false;  // the kernel has services of a former process
};

}  // namespace kcube::net
