// The rules of structural schemas in CustomResourceDefinitions. Private to machinery.
#pragma once

#include "pkg/apiserver/machinery/validation_cursor.h"

namespace kcube::machinery {

// `schema` is an openAPIV3Schema: every part has a type and stands where pruning and defaulting can find it.
// Source: the Kubernetes docs on structural schemas.
void validate_structural_schema(const Cursor& schema);

}  // namespace kcube::machinery
