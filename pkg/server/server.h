// The server: API server, controllers and scheduler, and (by default) a node, in one process.
//
// Makes what a cluster needs at its first start: certificates, the join token, the kubeconfig of its administrator. Parts
// start in the order API server, controllers and scheduler, node; stop() is the reverse and leaves containers running.
// Layout of `data_dir`: server/tls (keys, 0600), server/db/state.db, server/token, server/kubeconfig.yaml, agent/ (see
// pkg/agent).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pkg/agent/agent.h"
#include "pkg/apiserver/apiserver.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/base/clock.h"

namespace kcube::server {

struct Options {
  std::string name = "kcube";
  std::string data_dir = "/var/lib/kcube";
  std::string address = "0.0.0.0";
  uint16_t port = 6443;
  std::string advertise_address;          // how agents and pods reach us
  std::vector<std::string> tls_sans;      // more names and addresses of the serving certificate
  apiserver::ApiFlags api_flags;          // of the API server, with kube-apiserver's names
  bool run_node = true;
  agent::Options node;                    // data_dir, kubelet_tls and labels are filled in by the server
  std::vector<std::string> disabled_controllers;
  apiserver::AdmissionOptions admission;
  // A line for every step of the start, as it is done; the last one is "node ready" (or "API server ready" without a node).
  std::function<void(std::string_view step)> progress;
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(Options options, Clock& clock);
  virtual ~Server() = default;
  virtual Result<void> start() = 0;
  // Containers go on.
  virtual void stop() = 0;
  // Ends the pods of this node first.
  virtual void shut_down(std::chrono::milliseconds limit) = 0;
};

}  // namespace kcube::server
