// What kube-apiserver says of a value that does not fit its type where it goes from maps to structs without JSON between
// them, which is after a strategic merge.
#pragma once

#include <string>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

// The first thing wrong with the shape of `value`, or "" when it is not the shape.
std::string unstructured_problem(const json::value& value, const api::Type& type);

}  // namespace kcube::machinery
