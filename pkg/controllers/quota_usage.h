// What an object counts for under a ResourceQuota. Source: the Kubernetes docs on resource quotas. Internal to the room.
#pragma once

#include <map>
#include <string>

#include "pkg/api/object.h"
#include "pkg/api/quantity.h"

namespace kcube::controllers::quota {

using Usage = std::map<std::string, api::Quantity>;
void add(Usage& to, const Usage& what);

// "pods", "requests.cpu", "cpu", "limits.memory", "requests.nvidia.com/gpu", … of a pod that is not over; else empty.
Usage pod_usage(const api::Object& pod);
Usage service_usage(const json::value& service);
Usage claim_usage(const json::value& claim);
// The scopes and scopeSelector of the quota hold for this pod.
bool pod_in_scope(const json::value& quota, const api::Object& pod);
bool has_scopes(const json::value& quota);

}  // namespace kcube::controllers::quota
