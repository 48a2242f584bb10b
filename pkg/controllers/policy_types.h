// The types that expressions of admission policies are checked with: of built-in kinds from the schema, of others from the
// structural schemas of their CustomResourceDefinitions.
// Source: the Kubernetes docs on type checking of policies. Internal to the room; any thread.
#pragma once

#include <string_view>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"
#include "pkg/cel/type.h"

namespace kcube::controllers {

// Fields are made when an expression first names them.
cel::TypeRef builtin_type(const api::Type& type);

// The objects of one version of a definition. Null when the version is not served or its schema says nothing of types.
cel::TypeRef defined_type(const json::value& definition, std::string_view version);

}  // namespace kcube::controllers
