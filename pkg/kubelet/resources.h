// Requests and limits as cgroups know them. Source: the Kubernetes docs on QoS and resource management; cgroups(7).
#pragma once

#include <string>

#include "pkg/api/views/core_v1.h"
#include "runtime/pod_runtime.h"

namespace kcube::kubelet {

enum class QosClass { guaranteed, burstable, best_effort };

QosClass qos_class(const core::v1::Pod& pod);
// "/kcube/kubepods/burstable/pod<uid>".
std::string pod_cgroup(const std::string& cgroup_root, const core::v1::Pod& pod);
// cpu shares and quota, memory limit, OOM score of one container.
runtime::ResourceLimits container_limits(const core::v1::Pod& pod, const core::v1::Container& container, uint64_t node_memory_bytes);

}  // namespace kcube::kubelet
