// Who owns the number of replicas, as a Scale and as the object behind it say so: kube-apiserver tracks the fields of a Scale
// by themselves and carries the result over. Source: what it answers.
#pragma once

#include <string_view>

#include "pkg/api/json.h"

namespace kcube::machinery {

// managedFields of the Scale of an object; `path` is where that has its replicas: "spec.replicas".
json::array managers_of_scale(const json::value& object, std::string_view path);
// managedFields of the object of version `api_version` after those of its Scale have become `scale`.
json::array managers_of_scaled(const json::value& object, const json::value& scale, std::string_view path, std::string_view api_version);

}  // namespace kcube::machinery
