// A container's environment: literals, ConfigMaps, Secrets, the downward API, service links, $(VAR) expansion.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/api/views/core_v1.h"
#include "pkg/base/status.h"

namespace kcube::kubelet {

// What an environment draws on.
struct EnvironmentSources {
  std::function<Result<api::ObjectPtr>(std::string_view name)> config_map, secret;   // of the pod's namespace
  std::vector<api::ObjectPtr> services;                                              // of the namespace, and default/kubernetes
  std::string pod_ip, host_ip, node_name;
  std::vector<std::string> pod_ips;
  uint64_t node_cpu_millis = 0, node_memory_bytes = 0;
};

// "K=V" in order. Fails with what is missing: `configmap "x" not found`, `couldn't find key k in Secret ns/x`.
Result<std::vector<std::string>> make_environment(const core::v1::Pod& pod, const core::v1::Container& container,
                                                  const EnvironmentSources& sources);

// $(NAME) replaced where `values` has it, $$(NAME) unescaped, others left alone.
std::string expand(std::string_view text, const std::map<std::string, std::string>& values);

// A field of the downward API: metadata.name, metadata.labels['x'], status.podIP, …; 400 when unsupported.
Result<std::string> field_value(const core::v1::Pod& pod, std::string_view path, const EnvironmentSources& sources);
// limits.cpu and so on, divided by `divisor` and rounded up.
Result<std::string> resource_value(const core::v1::Container& container, std::string_view resource, const json::value* divisor,
                                   const EnvironmentSources& sources);

}  // namespace kcube::kubelet
