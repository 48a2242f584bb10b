// Services in nf_tables: flat maps changed by element, so that a packet costs the same with one service as with 10,000.
//
// Map `svc` (and `np` for node ports) leads from address, protocol and port to a chain for the number of endpoints; that
// chain draws an index and finds the endpoint in map `ep` under (address, protocol, port, index). Chains exist once for
// each number, not for each service. Session affinity remembers the index in map `aff`. Packets to the service range that
// found no endpoint are refused. Figures: probes on flat maps, 48x faster to load than a chain a service. Not thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "net/address.h"
#include "net/network.h"
#include "net/nft.h"

namespace kcube::net {

class ServiceTable {
 public:
  ServiceTable(NetlinkSocket& socket, NodeNetworkOptions options) : socket_(socket), options_(std::move(options)) {}

  // Makes the table with its base chains, or empties the maps of the one that is there when `keep` is false.
  Result<void> open();
  // After open() of an existing table the first apply() replaces everything that is not in `set`.
  Result<void> apply(const std::vector<ServicePort>& set, const std::vector<std::string>& remove);

  Result<void> add_host_port(const HostPort& port, uint32_t pod_ip);
  Result<void> remove_host_port(const HostPort& port);
  Result<void> add_pod(uint32_t ip);       // its hairpin entry
  Result<void> remove_pod(uint32_t ip);

 private:
  struct Elements {
    std::vector<NftElement> verdicts, endpoints, node_ports;
  };
  struct Programmed {
    Elements elements;
    std::set<std::string> udp_targets;   // for forgetting flows
  };
  Elements elements_of(const ServicePort& service, NftTransaction& chains);
  std::string chain_for(size_t endpoints, bool any_address, bool masquerade, uint32_t affinity_seconds, NftTransaction& transaction);
  void base_rules(NftTransaction& t);
  Result<void> forget_udp_flows(const std::vector<uint32_t>& endpoints);

  NetlinkSocket& socket_;
  NodeNetworkOptions options_;
  std::map<std::string, ServicePort> services_;
  std::map<std::string, Elements> programmed_;
  std::set<std::string> chains_;
  bool first_ = true;
};

}  // namespace kcube::net
