// Warnings: what is accepted and yet is probably a mistake, or deprecated. They go into the Warning headers of writes.
// Source: the Kubernetes docs on deprecated fields; texts and order of kube-apiserver 1.36.
#pragma once

#include <string>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

// Of a valid object that is created (`old` is null) or replaces `old`.
std::vector<std::string> warnings(const api::ResourceInfo& resource, const json::value& object, const json::value* old);

}  // namespace kcube::machinery
