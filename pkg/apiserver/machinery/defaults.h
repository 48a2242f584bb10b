// Defaulting: what an absent field is set to before validation and storage, so that a reader never guesses.
// Static defaults stand in the schema (pkg/api/schema/defaults.schema); those that depend on other fields are here.
#pragma once

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

// Idempotent. `object` has been through check_types().
void apply_defaults(const api::ResourceInfo& resource, json::value& object);

}  // namespace kcube::machinery
