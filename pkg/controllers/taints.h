// Taints and tolerations, as JSON. Source: the Kubernetes docs on taints and tolerations. Internal to the room.
#pragma once

#include <optional>
#include <string_view>

#include "pkg/api/json.h"

namespace kcube::controllers {

inline constexpr std::string_view kTaintNotReady = "node.kubernetes.io/not-ready", kTaintUnreachable = "node.kubernetes.io/unreachable",
                                  kTaintMemory = "node.kubernetes.io/memory-pressure", kTaintDisk = "node.kubernetes.io/disk-pressure",
                                  kTaintPid = "node.kubernetes.io/pid-pressure", kTaintNetwork = "node.kubernetes.io/network-unavailable",
                                  kTaintUnschedulable = "node.kubernetes.io/unschedulable";

bool tolerates(const json::value& toleration, const json::value& taint);
// The first of the taints with one of the effects that no toleration covers; null when all are.
const json::value* untolerated(const json::array& taints, const json::array& tolerations, std::initializer_list<std::string_view> effects);

}  // namespace kcube::controllers
