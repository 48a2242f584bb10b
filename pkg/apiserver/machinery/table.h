// Tables: what `kubectl get` prints, made by the server. Source: metav1.Table (meta.k8s.io/v1); column rules observed
// from the real server.
#pragma once

#include <string>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/api/object.h"
#include "pkg/api/schema.h"
#include "pkg/base/clock.h"

namespace kcube::machinery {

enum class IncludeObject { none, metadata, object };

// A meta.k8s.io/v1 Table of `items` as JSON text. `list_metadata` is the list's (resourceVersion, continue,
// remainingItemCount) or null for one object. `with_columns` false leaves column definitions out (watch events after
// the first).
std::string table(const api::ResourceInfo& resource, const std::vector<api::ObjectPtr>& items, const json::object& list_metadata,
                  IncludeObject include, bool with_columns, SystemTime now);

// "3d4h" as kubectl prints ages; `<unknown>` for a missing time.
std::string human_duration(Duration age);

// meta.k8s.io/v1 PartialObjectMetadata of one object, as JSON text.
std::string partial_object_metadata(const api::Object& object);

}  // namespace kcube::machinery
