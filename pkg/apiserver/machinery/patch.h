// The three patches of the API. Each returns the patched copy; none touches its input.
// Sources: RFC 6902, RFC 7386, the Kubernetes docs on strategic merge patch ($patch, $retainKeys,
// $setElementOrder, $deleteFromPrimitiveList).
#pragma once

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

// 400 for a malformed patch; 422 Invalid-like failures ("the server rejected our request due to an error in our request")
// for a path or test that does not hold. At most 10,000 operations.
Result<json::value> json_patch(const json::value& object, const json::value& operations);
json::value merge_patch(const json::value& object, const json::value& patch);
Result<json::value> strategic_merge_patch(const json::value& object, const json::value& patch, const api::Type& type);

}  // namespace kcube::machinery
