// Rules of CustomResourceDefinitions that need to do what is done with their objects: that defaults fit their own
// schema, that patterns and rules compile.
// The other rules: machinery/validation_extensions.cc and validation_schema.cc.
#pragma once

#include <vector>

#include "pkg/api/json.h"
#include "pkg/base/status.h"

namespace kcube::apiserver::extension {

std::vector<Cause> validate_definition(const json::value& definition, const json::value* old, std::string_view subresource);

}  // namespace kcube::apiserver::extension
