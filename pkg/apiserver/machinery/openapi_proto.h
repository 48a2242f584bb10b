// The OpenAPI v2 document in protobuf: what kubectl asks for when it checks objects of kinds that it cannot patch.
// Source: OpenAPIv2.proto of google/gnostic-models (field numbers).
#pragma once

#include <string>
#include <string_view>

namespace kcube::machinery {

inline constexpr std::string_view kOpenApiProtoType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
// Definitions, and of paths their operations with parameters in the query. Empty when `json_text` is no JSON.
std::string openapi_v2_proto(std::string_view json_text);

}  // namespace kcube::machinery
