#include "pkg/apiserver/machinery/warnings.h"

#include <gtest/gtest.h>

#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

std::string warned(std::string_view group, std::string_view resource, std::string_view text, std::string_view old = {}) {
  const auto* info = api::Schema::builtin().find_resource(group, "v1", resource);
  auto object = json::parse(text), before = json::parse(old.empty() ? "{}" : old);
  return join(warnings(*info, *object, old.empty() ? nullptr : &*before), "\n");
}

// What kube-apiserver 1.36 says to the same objects.
TEST(Warnings, TellOfPortsThatAreThereTwice) {
  EXPECT_EQ(warned("", "pods", R"({"metadata":{"name":"w"},"spec":{"containers":[
    {"name":"c","ports":[{"containerPort":80,"protocol":"TCP","name":"a"},{"containerPort":80,"protocol":"UDP"},{"containerPort":80,"protocol":"TCP","hostPort":8080}]},
    {"name":"d","ports":[{"containerPort":80,"protocol":"TCP","hostPort":8080,"hostIP":"1.2.3.4"},{"containerPort":90,"protocol":"TCP","name":"a"}]}]}})"),
            "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]\n"
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]\n"
            "spec.containers[1].ports[0]: dangerously ambiguous port definition with spec.containers[0].ports[2]\n"
            "spec.containers[1].ports[1]: duplicate port name \"a\" with spec.containers[0].ports[0], services and probes that select ports by name will use "
            "spec.containers[0].ports[0]");
}

TEST(Warnings, TellOfFilesThatHideEachOther) {
  EXPECT_EQ(warned("", "pods", R"({"metadata":{"name":"w"},"spec":{"volumes":[
    {"name":"a","projected":{"sources":[{"configMap":{"name":"x","items":[{"key":"a","path":"a"}]}},{"secret":{"name":"x","items":[{"key":"b","path":"a/b"}]}}]}},
    {"name":"b","secret":{"secretName":"y","items":[{"key":"a","path":"a"},{"key":"b","path":"ab"},{"key":"b","path":"a"}]}}]}})"),
            "volume \"a\" (Projected): overlapping paths: \"a/b\" (Secret \"x\") with \"a\" (ConfigMap \"x\")\n"
            "volume \"b\" (Secret \"y\"): overlapping paths: \"a\" with \"a\"");
}

TEST(Warnings, TellOfWhatIsDeprecatedOrOddInAPod) {
  EXPECT_EQ(warned("", "pods", R"({"metadata":{"name":"a.b","annotations":{"security.alpha.kubernetes.io/sysctls":"x"}},"spec":{
    "nodeSelector":{"beta.kubernetes.io/os":"linux"},"imagePullSecrets":[{"name":"s"},{"name":"s"}],
    "containers":[{"name":"c","env":[{"name":"A","value":"1"},{"name":"A","value":"2"}],"resources":{"requests":{"memory":"500m"}}}]}})"),
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]\n"
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead\n"
            "metadata.annotations[security.alpha.kubernetes.io/sysctls]: non-functional in v1.11+; use the \"sysctls\" field instead\n"
            "spec.imagePullSecrets[1].name: duplicate name \"s\"\n"
            "spec.containers[0].resources.requests[memory]: fractional byte value \"500m\" is invalid, must be an integer\n"
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply");
}

// A change that leaves the template alone says nothing of it again.
TEST(Warnings, LookAtTemplatesWhenTheGenerationMoves) {
  auto deployment = [](int generation) {
    return R"({"metadata":{"name":"w","generation":)" + std::to_string(generation) + R"(},"spec":{"template":{"spec":{"containers":[{"name":"c","env":[{"name":"A"},{"name":"A"}]}]}}}})";
  };
  const std::string said = "spec.template.spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply";
  EXPECT_EQ(warned("apps", "deployments", deployment(1)), said);
  EXPECT_EQ(warned("apps", "deployments", deployment(1), deployment(1)), "");
  EXPECT_EQ(warned("apps", "deployments", deployment(2), deployment(1)), said);
}

TEST(Warnings, TellWhatAHeadlessServiceDoesNotHeed) {
  EXPECT_EQ(warned("", "services", R"({"spec":{"clusterIP":"None","sessionAffinity":"None","externalIPs":["FD00::1"]}})"),
            "spec.externalIPs is ignored for headless services\n"
            "spec.externalIPs[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")");
}

}  // namespace
}  // namespace kcube::machinery
