// The agent: everything a machine needs to be a node, assembled: images, runtime, network, kubelet, proxy, DNS.
//
// Used inside a server (LocalClient) and by `kcube agent` (RemoteClient). The network is made as soon as the node has been
// given its range of pod addresses; until then pods wait. stop() leaves containers running for the next start;
// stop_pods() ends them. A part that cannot start fails start() with its reason.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pkg/base/clock.h"
#include "pkg/client/client.h"
#include "pkg/http/server.h"

namespace kcube::agent {

struct NetworkOptions {
  std::string prefix = "kcube";              // of links and the nft table; one a cluster on a machine
  std::string cluster_cidr = "10.42.0.0/16";
  std::string service_cidr = "10.43.0.0/16";
  std::string dns_vip = "10.43.0.10";
  std::string cluster_domain = "cluster.local";
  uint32_t vxlan_id = 42;
  uint16_t vxlan_port = 8472;
};

struct Options {
  std::string node_name, node_ip;
  std::string data_dir;                      // e.g. /var/lib/kcube/agent
  std::string run_dir;                       // e.g. /run/kcube/kcube/node
  std::string cgroup_root = "/kcube";
  std::string static_pod_dir;
  std::string registries_file = "/etc/kcube/registries.yaml";
  std::string resolv_conf = "/etc/resolv.conf";
  std::string listen_address = "0.0.0.0";
  uint16_t kubelet_port = 10250;
  http::TlsOptions kubelet_tls;
  NetworkOptions network;
  std::map<std::string, std::string> labels;
  std::vector<std::string> taints;
  std::string version = "v1.36.0";
  // An archive of images that come with the binary; may be empty.
  std::string_view bundled_images;
};

class Agent {
 public:
  static Result<std::unique_ptr<Agent>> create(Options options, client::Client& client, Clock& clock);
  virtual ~Agent() = default;
  virtual Result<void> start() = 0;
  virtual void stop() = 0;
  // Ends every pod of the node; SIGKILL after `limit`.
  virtual void stop_pods(std::chrono::milliseconds limit) = 0;
  // Of the kubelet's endpoint, after a renewal.
  virtual Result<void> set_certificate(const http::TlsOptions& tls) = 0;
};

// Removes what an agent of these options left on the machine, also after kill -9: containers, mounts, cgroups, links, the
// nft table. Images and volumes stay. No agent may be running.
Result<void> clean_up(const Options& options);

}  // namespace kcube::agent
