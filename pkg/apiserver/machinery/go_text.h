// A JSON value as Go's %v prints it: `map[data:map[a:5] l:[x <nil>]]`. In messages that clients of the real server know.
#pragma once

#include <string>

#include "pkg/api/json.h"

namespace kcube::machinery {

std::string go_text(const json::value& v);

}  // namespace kcube::machinery
