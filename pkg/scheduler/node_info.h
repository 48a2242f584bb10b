// What the scheduler knows of the nodes: the objects, and what the pods on them ask for. Internal to the room.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/api/views/core_v1.h"

namespace kcube::scheduler {

struct Resources {
  int64_t cpu_millis = 0;
  int64_t memory_bytes = 0;
  int64_t ephemeral_bytes = 0;
  std::map<std::string, int64_t> others;   // extended resources and huge pages

  void add(const Resources& other, int sign = 1);
};

// What a pod asks for: the containers together, or the largest init container, plus sidecars and overhead. KEP-753.
Resources pod_requests(const core::v1::Pod& pod);

struct HostPort {
  std::string ip, protocol;
  int64_t port;
  auto operator<=>(const HostPort&) const = default;
};
std::vector<HostPort> host_ports(const core::v1::Pod& pod);
bool conflicts(const HostPort& a, const HostPort& b);

struct NodeInfo {
  api::ObjectPtr node;
  std::map<std::string, api::ObjectPtr> pods;   // by "ns/name"; bound or assumed
  Resources requested;
  Resources allocatable;
  int64_t max_pods = 110;

  void set_node(api::ObjectPtr object);
  void add_pod(const api::ObjectPtr& pod);
  void remove_pod(const std::string& key);
};

}  // namespace kcube::scheduler
