// Capabilities by name. Source: capabilities(7).
#pragma once

#include <cstdint>
#include <string>

#include "pkg/base/status.h"
#include "runtime/pod_runtime.h"

namespace kcube::runtime {

// A bit set: 1 << CAP_*.
using CapabilitySet = uint64_t;

// "NET_ADMIN" or "CAP_NET_ADMIN" in any case; 400 when unknown.
Result<CapabilitySet> capability(std::string_view name);
// What this process may hand on: its own bounding set.
CapabilitySet own_capabilities();
// The container's, after additions and removals; privileged ones get all of own_capabilities().
Result<CapabilitySet> container_capabilities(const SecurityConfig& security);

}  // namespace kcube::runtime
