// The network of one node: bridge, pods' links and addresses, the overlay to other nodes, services.
//
// Knows nothing of the Kubernetes API: plain structs in. Speaks netlink and nf_tables itself, runs no external
// command. Everything made here carries the cluster's own names (links "<prefix>…", one nft table), so that
// remove_all() finds it again after a kill -9. Thread-safe. Sources: rtnetlink(7), KEP-2, nftables wiki; figures in
// ARCHITECTURE.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::net {

enum class Protocol : uint8_t { tcp = 6, udp = 17, sctp = 132 };

struct NodeNetworkOptions {
  std::string prefix = "kcube";  // 8 characters at most: bridge "<prefix>0", overlay "<prefix>vx", table "<prefix>"
  std::string pod_cidr;          // this node's, e.g. "10.42.0.0/24"
  std::string cluster_cidr;      // all pods', e.g. "10.42.0.0/16"
  std::string service_cidr;      // e.g. "10.43.0.0/16"
  std::string node_ip;           // this node's address towards the others
  std::string dns_vip;           // the cluster DNS address, made local on this node so that our server can bind it
  std::string state_dir;         // addresses given out are remembered here over a restart
  uint16_t node_port_first = 30000, node_port_last = 32767;
  uint32_t vxlan_id = 42;
  uint16_t vxlan_port = 4789;
};

struct HostPort {
  Protocol protocol = Protocol::tcp;
  uint16_t host_port = 0, container_port = 0;
  std::string host_ip;  // empty: every local address
};

struct AttachRequest {
  std::string id;  // of the sandbox; names the link and the address
  Fd netns;        // the pod's network namespace
  std::vector<HostPort> host_ports;
};

// Another node's share of the overlay.
struct Peer {
  std::string node_name;
  std::string node_ip;
  std::string pod_cidr;
};

struct Endpoint {
  std::string ip;
  uint16_t port = 0;
  bool local = false;  // on this node (for the Local traffic policies)
  bool operator==(const Endpoint&) const = default;
};

// One port of one service as this node must serve it.
struct ServicePort {
  std::string key;  // "namespace/name:port", unique
  std::vector<std::string> cluster_ips;
  std::vector<std::string> external_ips;
  std::vector<std::string> load_balancer_ips;
  std::vector<std::string> source_ranges;  // who may use the load balancer's addresses; none: everybody
  Protocol protocol = Protocol::tcp;
  uint16_t port = 0;
  uint16_t node_port = 0;                               // 0: none
  std::vector<Endpoint> endpoints;                      // none: connections are refused at once (ICMP port unreachable)
  uint32_t affinity_seconds = 0;                        // sessionAffinity: ClientIP; 0: none
  bool internal_local = false, external_local = false;  // traffic policies
  bool operator==(const ServicePort&) const = default;
};

class NodeNetwork {
 public:
  virtual ~NodeNetwork() = default;

  // A veth pair, an address of pod_cidr, routes and host ports. Idempotent by id: a second call returns the same
  // address.
  virtual Result<std::vector<std::string>> attach(AttachRequest request) = 0;
  virtual Result<void> detach(const std::string& id) = 0;
  // Ids with an address in memory or on disk: after a restart the caller detaches those it no longer knows.
  virtual std::vector<std::string> attached() = 0;

  // The whole set of other nodes; only differences are programmed.
  virtual Result<void> set_peers(const std::vector<Peer>& peers) = 0;

  // Sets or replaces the rules of one service port; remove_service() forgets it. Changes go to the kernel by element,
  // in one transaction a call; batch() groups many (start-up with thousands of services).
  virtual Result<void> set_service(const ServicePort& service) = 0;
  virtual Result<void> remove_service(const std::string& key) = 0;
  virtual Result<void> batch(const std::vector<ServicePort>& set, const std::vector<std::string>& remove) = 0;

  // The address of the bridge: the pods' gateway.
  virtual std::string gateway() const = 0;
};

// Makes the bridge, the overlay and the table, or takes over what a former process of the same cluster left
// (running pods keep their connections).
Result<std::unique_ptr<NodeNetwork>> open_network(const NodeNetworkOptions& options);

// Removes every link, route, address and table of `prefix` in this network namespace. Idempotent.
Result<void> remove_all(const std::string& prefix);

// The address that packets to the world would leave from, else the first global address, else "127.0.0.1".
// Those of our own bridges do not count.
Result<std::string> default_address();

// True when `cidr` overlaps a route or an address of this machine (for choosing another).
Result<bool> in_use(const std::string& cidr);

}  // namespace kcube::net
