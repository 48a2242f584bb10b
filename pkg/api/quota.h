// What an object counts for under a ResourceQuota: for admission, which charges it, and the controller, which recounts.
// Pure. Source: the Kubernetes docs on resource quotas.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "pkg/api/json.h"
#include "pkg/api/quantity.h"

namespace kcube::api::quota {

using Usage = std::map<std::string, Quantity>;
void add(Usage& to, const Usage& what);

// "pods", "requests.cpu", "cpu", "limits.memory", "requests.nvidia.com/gpu", … A pod that is over counts as an object alone.
Usage pod_usage(const json::value& pod);
Usage service_usage(const json::value& service);
Usage claim_usage(const json::value& claim);
// Of anything else: "count/deployments.apps", and the short names that some have ("configmaps").
Usage object_usage(std::string_view group, std::string_view resource);

bool has_scopes(const json::value& quota);
// The scopes and scopeSelector of the quota hold for this pod or claim.
bool pod_in_scope(const json::value& quota, const json::value& pod);
bool claim_in_scope(const json::value& quota, const json::value& claim);

// Why the quota cannot be reckoned for this pod: "must specify limits.cpu for: c1,c2; …"; empty when it can.
std::string missing_of(const json::value& hard, const json::value& pod);

}  // namespace kcube::api::quota
