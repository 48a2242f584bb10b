// What PodSecurity does where a namespace's labels say nothing, and whom it leaves alone.
// Source: the Kubernetes docs, PodSecurityConfiguration of pod-security.admission.config.k8s.io/v1.
#pragma once

#include <set>
#include <string>

#include "pkg/apiserver/admission/pod_security_checks.h"
#include "pkg/base/status.h"

namespace kcube::apiserver {

struct PodSecuritySettings {
  SecurityPolicy enforce, audit, warn;
  std::set<std::string, std::less<>> users, runtime_classes, namespaces;   // exempt
};

Result<PodSecuritySettings> read_pod_security(const json::value& configuration);

}  // namespace kcube::apiserver
