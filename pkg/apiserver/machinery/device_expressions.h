// The CEL expressions that choose devices: what they may name, whether they compile, and what they may cost.
// Source: the Kubernetes docs on dynamic resource allocation; messages of kube-apiserver.
#pragma once

#include "pkg/apiserver/machinery/validation_cursor.h"
#include "pkg/cel/environment.h"

namespace kcube::machinery {

// `device`, with its driver, attributes and capacity.
const cel::Environment& device_environment();

// Causes for selectors without an expression, and for expressions that do not compile, are no conditions, or cost too much.
void validate_device_selectors(const Cursor& selectors);

}  // namespace kcube::machinery
