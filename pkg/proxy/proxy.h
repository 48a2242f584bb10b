// The service proxy: follows Services, EndpointSlices and Nodes and programs net::NodeNetwork, by difference.
#pragma once

#include <memory>
#include <string>

#include "net/network.h"
#include "pkg/base/clock.h"
#include "pkg/client/client.h"

namespace kcube::proxy {

struct Options {
  std::string node_name;
  std::string dns_vip;  // served on the node itself: no rules for it
};

class Proxy {
 public:
  static std::unique_ptr<Proxy> create(client::Client& client, net::NodeNetwork& network, Clock& clock,
                                       Options options);
  virtual ~Proxy() = default;
  // Returns when the first full set of rules is in the kernel.
  virtual Result<void> start() = 0;
  virtual void stop() = 0;
};

}  // namespace kcube::proxy
