// Validation of the built-in types: the rules beyond types, with the real field paths, reasons and messages.
#pragma once

#include <vector>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"
#include "pkg/base/status.h"

namespace kcube::machinery {

// Every violation of `object` (after defaulting); for an update also what must not change from `old` (null: create).
// `requested` is the resource of the request, which may have another group and version. Empty: valid.
std::vector<Cause> validate(const api::ResourceInfo& resource, const json::value& object, const json::value* old,
                            const api::ResourceInfo& requested);
inline std::vector<Cause> validate(const api::ResourceInfo& resource, const json::value& object, const json::value* old) {
  return validate(resource, object, old, resource);
}

// metadata alone: name (or generateName), namespace, labels, annotations (256 KiB), ownerReferences, finalizers,
// and on update the immutable ones.
std::vector<Cause> validate_metadata(const api::ResourceInfo& resource, const json::value& object,
                                     const json::value* old);

// metadata of an object inside another: its names may be left out.
std::vector<Cause> validate_embedded_metadata(const json::value& object);

}  // namespace kcube::machinery
