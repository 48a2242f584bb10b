// Whose fields are whose in a write, and how the fields of a Scale are carried over to what it scales. Internal to the room.
#pragma once

#include "pkg/apiserver/core.h"
#include "pkg/apiserver/machinery/apply.h"

namespace kcube::apiserver {

// How the caller's fields are tracked: its name, the subresource, the version.
machinery::ApplyOptions manager_options(const Call& call, SystemTime now, bool force);
// The same of a Scale, which is tracked by itself, and what comes of it is carried over.
machinery::ApplyOptions scale_options(const Call& call, SystemTime now, bool force);
// The Scale of an object, with the managers of its fields.
json::value tracked_scale(const Resource& r, const json::value& object);
// The object as such a Scale has it.
Result<json::value> scaled(const Resource& r, const json::value& object, const json::value& scale);

}  // namespace kcube::apiserver
