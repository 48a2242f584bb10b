// Whether this node can take a pod: the scheduler has looked already, but pods may name a node themselves. Internal to the
// room. Source: the Kubernetes docs on pod admission by the kubelet.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pkg/api/views/core_v1.h"

namespace kcube::kubelet {

struct NodeRoom {
  uint64_t cpu_millis = 0, memory_bytes = 0;
  size_t pods = 110;
};

struct Rejection {
  std::string reason;   // "NodePorts", "OutOfcpu", …
  std::string message;
};

// `running`: the pods that hold ports and resources here, without `pod`.
std::optional<Rejection> check_admission(const core::v1::Pod& pod, const std::vector<core::v1::Pod>& running, const NodeRoom& room);

// Whether a pod that runs here can have the resources it asks for now. The reason is that of its PodResizePending condition:
// "Infeasible" when it will never fit this node, "Deferred" when it may once others are gone.
std::optional<Rejection> check_resize(const core::v1::Pod& pod, const std::vector<core::v1::Pod>& others, const NodeRoom& room);

}  // namespace kcube::kubelet
