// Seccomp filters as the bytes the kernel takes (struct sock_filter[]). Compiled by libseccomp, once for each profile.
#pragma once

#include <string>

#include "pkg/base/status.h"
#include "runtime/capabilities.h"

namespace kcube::runtime {

// The default profile for a container with these capabilities. Thread-safe; cached for the life of the process.
Result<std::string> default_seccomp_filter(CapabilitySet capabilities);
// A profile file in the format of the OCI runtime specification or of Docker (with includes and excludes).
Result<std::string> seccomp_filter_from(const std::string& profile_json, CapabilitySet capabilities);

}  // namespace kcube::runtime
