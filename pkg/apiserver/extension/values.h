// Validation of custom resources against their schema: what OpenAPI v3 says of values, the uniqueness of sets and of the
// keys of maps, embedded metadata, and the paths of the scale subresource.
//
// An update passes over what was wrong before and has not changed (ratcheting, KEP-4008). Paths, reasons and messages are
// the real server's.
#pragma once

#include <vector>

#include "pkg/apiserver/extension/custom_resource.h"

namespace kcube::apiserver::extension {

std::vector<Cause> validate_values(const CustomVersion& version, const json::value& object, const json::value* old, std::string_view subresource);

}  // namespace kcube::apiserver::extension
