// spec.nodeSelector and required node affinity of a pod against a node. Source: the Kubernetes docs on assigning pods to
// nodes. Internal to the room.
#pragma once

#include "pkg/api/object.h"

namespace kcube::controllers {

bool node_selected(const json::value& pod_spec, const api::Object& node);
// A core/v1 NodeSelector: any of its terms.
bool node_selector_matches(const json::value& selector, const api::Object& node);

}  // namespace kcube::controllers
