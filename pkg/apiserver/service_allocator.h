// Cluster addresses and node ports: who has which, and which is free.
//
// Kept in memory, rebuilt from the cached services at start and corrected by their events, so nothing can leak. Taken
// before a service is stored and given back when that fails. Thread-safe. Source: the Kubernetes docs on Services;
// KEP-3070 (dynamic allocation prefers the upper part of the range).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "pkg/apiserver/cache.h"
#include "pkg/base/metrics.h"

namespace kcube::apiserver {

struct Write;

class ServiceAllocator {
 public:
  // `cidr` is IPv4, e.g. "10.43.0.0/16"; its first address is the kubernetes service's. Ports are inclusive.
  ServiceAllocator(std::string_view cidr, uint16_t first_port, uint16_t last_port);

  void load(const ResourceCache& services);
  // After every change of a service.
  void observe(const Event& event);

  // Fills in clusterIP(s), node ports and health check port of `service`, as its type asks; `old` null on creation.
  // 422 for addresses and ports that are taken or out of range.
  Result<void> assign(json::object& service, const json::object* old, const std::string& name);
  // Gives back what `service` has and `old` has not.
  void release(const json::object& service, const json::object* old, const std::string& key);

  // How many addresses and ports are taken, and how they were.
  void write_metrics(MetricsText& out);
  const std::string& cidr() const { return cidr_; }
  std::string first_address() const;

 private:
  Result<void> assign_address(json::object& service, const json::object* old, const std::string& key, const std::string& name);
  Result<void> assign_ports(json::object& service, const json::object* old, const std::string& key, const std::string& name);
  Result<uint32_t> take_address(const std::string& wanted, const std::string& key, const std::string& name);
  Result<int64_t> take_port(int64_t wanted, std::string_view protocol, const std::string& key, const std::string& name, const std::string& field);
  void hold(const json::value& service, const std::string& key);
  void drop(const json::value& service, const std::string& key);

  std::string cidr_;
  uint32_t base_ = 0, size_ = 0;
  uint16_t first_port_, last_port_;
  std::mutex mutex_;
  Counter given_{0}, chosen_{0}, failed_{0};                               // addresses: of ours, the client's; neither
  std::map<uint32_t, std::string> addresses_;                              // to the service's key
  std::map<std::pair<std::string, uint16_t>, std::string> ports_;          // {protocol, port}
};

}  // namespace kcube::apiserver
