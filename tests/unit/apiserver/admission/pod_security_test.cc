// What the Pod Security Standards forbid, in the words of kube-apiserver.
#include "pkg/apiserver/admission/pod_security_checks.h"

#include <gtest/gtest.h>

namespace kcube::apiserver {
namespace {

std::string violations(SecurityLevel level, std::string_view spec, int minor = SecurityPolicy::kLatest) {
  auto value = json::parse(spec);
  return value ? security_violations({level, minor}, nullptr, *value) : "malformed";
}

constexpr std::string_view kGood = R"({"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},
  "containers":[{"name":"a","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]})";

TEST(PodSecurity, LetsCarefulPodsPass) {
  EXPECT_EQ(violations(SecurityLevel::restricted, kGood), "");
  EXPECT_EQ(violations(SecurityLevel::baseline, R"({"containers":[{"name":"a"}]})"), "");
  EXPECT_EQ(violations(SecurityLevel::privileged, R"({"hostPID":true})"), "");
}

TEST(PodSecurity, NamesEveryContainerOnce) {
  EXPECT_EQ(violations(SecurityLevel::restricted, R"({"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]})"),
            "allowPrivilegeEscalation != false (containers \"i\", \"a\" must set securityContext.allowPrivilegeEscalation=false), "
            "unrestricted capabilities (containers \"i\", \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), "
            "runAsNonRoot != true (pod or containers \"i\", \"a\" must set securityContext.runAsNonRoot=true), "
            "seccompProfile (pod or containers \"i\", \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")");
}

TEST(PodSecurity, PutsBaselineFirst) {
  EXPECT_EQ(violations(SecurityLevel::baseline, R"({"hostNetwork":true,"volumes":[{"name":"v","hostPath":{}}],"containers":[{"name":"a","ports":[{"hostPort":80}],
    "securityContext":{"privileged":true,"capabilities":{"add":["NET_ADMIN","CHOWN"]}}}]})"),
            "non-default capabilities (container \"a\" must not include \"NET_ADMIN\" in securityContext.capabilities.add), host namespaces (hostNetwork=true), "
            "hostPath volumes (volume \"v\"), hostPort (container \"a\" uses hostPort 80), privileged (container \"a\" must not set securityContext.privileged=true)");
}

TEST(PodSecurity, FollowsTheVersionAsked) {
  constexpr std::string_view kSysctl = R"({"securityContext":{"sysctls":[{"name":"net.ipv4.tcp_rmem"}]},"containers":[]})";
  EXPECT_EQ(violations(SecurityLevel::baseline, kSysctl), "");
  EXPECT_EQ(violations(SecurityLevel::baseline, kSysctl, 31), "forbidden sysctls (net.ipv4.tcp_rmem)");
  EXPECT_EQ(violations(SecurityLevel::restricted, R"({"os":{"name":"windows"},"securityContext":{"runAsNonRoot":true},"containers":[{"name":"a"}]})"), "");
  EXPECT_EQ(parse_security_version("v1.x"), std::nullopt);
  EXPECT_EQ(parse_security_version("v1.24"), 24);
}

}  // namespace
}  // namespace kcube::apiserver
