// Whether an applied configuration fits its type, before anything is merged. Internal to the machinery's apply.
#pragma once

#include <string>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

// The first thing that does not fit, as ".spec.nonsense: field not declared in schema"; "" when all does.
std::string configuration_problem(const json::value& config, const api::Type& type);

}  // namespace kcube::machinery
