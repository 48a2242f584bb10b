// Bodies in Kubernetes' protobuf encoding, as typed Go clients send them: read over the schema's field numbers into the
// same JSON values that everything else works on.
//
// Source: the protobuf encoding specification; the envelope ("k8s\0" and runtime.Unknown) in the API concepts page of the
// Kubernetes docs. Unknown fields are skipped, as Go does.
#pragma once

#include <string_view>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

constexpr std::string_view kProtobufType = "application/vnd.kubernetes.protobuf";

// 400 when the bytes are no envelope, no message of the kind they name, or the kind is unknown.
Result<json::value> decode_protobuf(const api::Schema& schema, std::string_view body);

}  // namespace kcube::machinery
