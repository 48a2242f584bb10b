// The types of what expressions of admission may name whatever the object is. Source: the Kubernetes docs on CEL in
// admission control; fields as kube-apiserver 1.36 declares them.
#pragma once

#include "pkg/cel/type.h"

namespace kcube::cel {

// Of `request`: an AdmissionRequest but for object and oldObject.
const TypeRef& admission_request_type();
// Of `namespaceObject`: what is left out there cannot be named. Its uid is written UID, as in the original.
const TypeRef& namespace_object_type();

}  // namespace kcube::cel
