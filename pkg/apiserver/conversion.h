// Conversion between the versions of one kind: each is stored in one and served in all.
// Two need it: HorizontalPodAutoscaler (v2 stored, v1 served) and Event (core stored, events.k8s.io served).
// Source: the Kubernetes API reference of both versions of each.
#pragma once

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::apiserver {

// What `served` is stored as; `served` itself for nearly all.
const api::ResourceInfo* storage_version(const api::Schema& schema, const api::ResourceInfo& served);

// The same object as `to` has it. Without effect where both are one version.
void convert(json::value& object, const api::ResourceInfo& from, const api::ResourceInfo& to);

}  // namespace kcube::apiserver
