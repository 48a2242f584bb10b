// The Pod Security Standards: what the levels baseline and restricted forbid, by version.
// Pure. Source: the Kubernetes docs on the Pod Security Standards; the words of kube-apiserver 1.36.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "pkg/api/json.h"

namespace kcube::apiserver {

enum class SecurityLevel { privileged, baseline, restricted };

struct SecurityPolicy {
  SecurityLevel level = SecurityLevel::privileged;
  int minor = kLatest;                       // of Kubernetes 1.x
  static constexpr int kLatest = 1 << 20;

  auto operator<=>(const SecurityPolicy&) const = default;
  std::string to_string() const;             // "restricted:latest", "baseline:v1.24"
};

std::optional<SecurityLevel> parse_security_level(std::string_view text);
// "latest" or "v1.N".
std::optional<int> parse_security_version(std::string_view text);

// What a pod of this metadata and spec violates: `privileged (container "a" must not …), …`; empty when nothing.
std::string security_violations(const SecurityPolicy& policy, const json::value* metadata, const json::value& spec);

}  // namespace kcube::apiserver
