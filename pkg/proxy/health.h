// What load balancers ask a node: has this service endpoints here? One HTTP port a service with externalTrafficPolicy
// Local (spec.healthCheckNodePort), 200 with endpoints and 503 without. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "pkg/http/server.h"

namespace kcube::proxy {

class HealthPorts {
 public:
  // Replaces what is served for `service` ("namespace/name"); port 0: nothing. Fails when the port is taken.
  Result<void> set(const std::string& service, uint16_t port, size_t local_endpoints);
  // The answer for `service`: status and JSON body.
  std::pair<int, std::string> answer(const std::string& service) const;
  void stop();

 private:
  struct Entry {
    uint16_t port = 0;
    size_t local_endpoints = 0;
    std::unique_ptr<http::Server> server;
  };
  mutable std::mutex mutex_;  // not held while a server is destroyed: its handlers want it
  std::map<std::string, Entry> entries_;
};

}  // namespace kcube::proxy
