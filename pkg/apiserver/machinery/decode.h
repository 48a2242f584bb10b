// From a request's body to a checked value: syntax, types, unknown and duplicate fields.
//
// Kubernetes decodes into Go structs: unknown fields vanish, nulls count as absent, a wrong type is a 400. This does the
// same over the schema. Source: KEP-2885 (server-side field validation); messages checked against the real server.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

enum class FieldValidation { ignore, warn, strict };

// An empty list or map that was dropped, by its path: `spec.containers[0].env`. Go has nil for what is absent and something
// else for these, which shows in what the rules say of them.
struct Emptied {
  std::string path;
  bool list;
};

struct Decoded {
  json::value value;
  std::vector<Emptied> emptied;
  std::vector<std::string> warnings;   // `unknown field "spec.x"`, for Warning headers
  size_t first_unknown = 0;            // where the first of them stands in its object, when there are any
};

// `content_type` may carry parameters; JSON, YAML, protobuf and CBOR are known, anything else is 415.
Result<json::value> parse_body(std::string_view content_type, std::string_view body);

// What becomes of members that Go's `omitempty` would not write again: zeros that are no pointers, empty lists and maps.
// An applied configuration keeps them, because its author owns them.
enum class Empty { drop, keep };

// Checks and normalises `value` as `type`: removes unknown fields (or reports them), drops nulls and what is empty, turns
// quantities into their canonical strings. 400 BadRequest when a field has the wrong type or, strictly, when one is unknown.
Result<Decoded> check_types(json::value value, const api::Type& type, FieldValidation validation, Empty empty = Empty::drop);

// Puts back what was dropped, where there still is a place for it.
void restore_emptied(json::value& object, const std::vector<Emptied>& emptied);

// Duplicate members of objects in JSON text, as paths: `metadata.name`. Empty for YAML, whose parser refuses them.
std::vector<std::string> duplicate_fields(std::string_view json_text);
// Duplicate and unknown fields of a text that is of a type, in its order: `unknown field "spec.x"`, `duplicate field "a"`.
std::vector<std::string> strict_problems(std::string_view json_text, const api::Type& type);

}  // namespace kcube::machinery
