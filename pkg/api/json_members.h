// Taking many members out of a JSON object.
#pragma once

#include <vector>

#include "pkg/api/json.h"

namespace kcube::json {

// Removes the members at these places, which ascend; the others stay in order. Linear, whatever is removed: Boost's
// stable_erase() in a loop is not.
void erase_members(object& from, const std::vector<size_t>& places);

}  // namespace kcube::json
