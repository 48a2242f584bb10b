// The scale subresource: a Deployment, ReplicaSet, StatefulSet or ReplicationController seen as an autoscaling/v1 Scale.
#pragma once

#include "pkg/apiserver/registry.h"
#include "pkg/base/status.h"

namespace kcube::apiserver {

json::value to_scale(const Resource& resource, const json::value& object);
// Where the object has its replicas: "spec.replicas".
std::string replicas_path(const Resource& resource);
// `object` with the replicas that `scale` asks for; resourceVersion and uid of the Scale are preconditions.
// 422 for a negative number.
Result<json::value> from_scale(const Resource& resource, const json::value& object, const json::value& scale);

}  // namespace kcube::apiserver
