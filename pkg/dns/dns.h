// The cluster's DNS server, in process: cluster.local from informers, everything else forwarded to the host's
// resolvers.
//
// Listens on the cluster DNS address (UDP and TCP) of each node. Source: the Kubernetes DNS specification 1.1.0, RFC
// 1035.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pkg/base/clock.h"
#include "pkg/client/client.h"

namespace kcube::dns {

struct Options {
  std::vector<std::string> listen;  // addresses to serve on, e.g. "10.43.0.10"
  uint16_t port = 53;
  std::string domain = "cluster.local";
  std::string resolv_conf = "/etc/resolv.conf";  // upstream servers; read again when it changes
  std::string node_ip;                           // answers host.kcube.internal
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(client::Client& client, Clock& clock, Options options);
  virtual ~Server() = default;
  virtual Result<void> start() = 0;
  virtual void stop() = 0;
};

}  // namespace kcube::dns
