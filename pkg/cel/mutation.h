// The types that MutatingAdmissionPolicy expressions make: Object{…} and JSONPatch{…}. An evaluated Object is a map
// (to_json() gives the apply configuration); a list of JSONPatch is a list of maps with op, path, from and value.
#pragma once

#include <string>
#include <string_view>

#include "pkg/base/status.h"
#include "pkg/cel/type.h"
#include "pkg/cel/value.h"

namespace kcube::cel {

// Object, Object.<path> or JSONPatch; null for other names.
TypeRef mutation_type(std::string_view name);

// Whether each object inside has the type that its place asks for: Object.spec.template below spec.template. The error is
// the real server's.
Result<void> check_object_types(const Value& value, const std::string& path = "Object");

}  // namespace kcube::cel
