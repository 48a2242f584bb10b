#include "pkg/apiserver/machinery/defaults.h"

#include <gtest/gtest.h>

namespace kcube::machinery {
namespace {

json::value defaulted(std::string_view group, std::string_view version, std::string_view resource, std::string_view text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value);
  apply_defaults(*api::Schema::builtin().find_resource(group, version, resource), *value);
  return std::move(*value);
}

TEST(Defaults, FillAPod) {
  json::value pod = defaulted("", "v1", "pods", R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i",
    "ports":[{"containerPort":80}],"livenessProbe":{"httpGet":{"port":80}},"resources":{"limits":{"cpu":"1","memory":"1Gi"}}}],"volumes":[{"name":"v"}]}})");
  EXPECT_EQ(json::get_string(pod, {"spec", "restartPolicy"}), "Always");
  EXPECT_EQ(json::get_string(pod, {"spec", "dnsPolicy"}), "ClusterFirst");
  EXPECT_EQ(json::get_int(pod, {"spec", "terminationGracePeriodSeconds"}), 30);
  EXPECT_EQ(json::get_string(pod, {"status", "qosClass"}), "Guaranteed");
  const json::value& c = pod.at("spec").at("containers").at(0);
  EXPECT_EQ(json::get_string(c, {"imagePullPolicy"}), "Always");
  EXPECT_EQ(json::get_string(c.at("ports").at(0), {"protocol"}), "TCP");
  EXPECT_EQ(json::get_int(c, {"livenessProbe", "failureThreshold"}), 3);
  EXPECT_EQ(json::get_string(c, {"livenessProbe", "httpGet", "scheme"}), "HTTP");
  EXPECT_EQ(json::get_string(c, {"resources", "requests", "cpu"}), "1");
  EXPECT_TRUE(pod.at("spec").at("volumes").at(0).at("emptyDir").is_object());
}

TEST(Defaults, PullImagesOfVolumesAsThoseOfContainers) {
  json::value pod = defaulted("", "v1", "pods", R"({"spec":{"volumes":[{"name":"a","image":{"reference":"i:1"}},{"name":"b","image":{"reference":"i"}},
    {"name":"c","image":{"reference":"i","pullPolicy":"Never"}},{"name":"d","image":{}}]}})");
  std::string policies;
  for (const json::value& v : pod.at("spec").at("volumes").as_array()) policies += std::string(json::get_string(v, {"image", "pullPolicy"})) + " ";
  EXPECT_EQ(policies, "IfNotPresent Always Never IfNotPresent ");
}

TEST(Defaults, FillADeploymentButNotItsTemplatesRequests) {
  json::value d = defaulted("apps", "v1", "deployments", R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:1","resources":{"limits":{"cpu":"1"}}}]}}}})");
  EXPECT_EQ(json::get_int(d, {"spec", "replicas"}), 1);
  EXPECT_EQ(json::get_string(d, {"spec", "strategy", "rollingUpdate", "maxSurge"}), "25%");
  EXPECT_EQ(json::find(json::at(&d.at("spec").at("template").at("spec").at("containers").at(0), {"resources"}), "requests"), nullptr);
  EXPECT_TRUE(d.at("status").as_object().empty());
}

TEST(Defaults, FillAService) {
  json::value s = defaulted("", "v1", "services", R"({"spec":{"ports":[{"port":80}]}})");
  EXPECT_EQ(json::get_int(s.at("spec").at("ports").at(0), {"targetPort"}), 80);
  EXPECT_EQ(json::get_string(s, {"spec", "type"}), "ClusterIP");
  EXPECT_EQ(json::get_string(s, {"spec", "internalTrafficPolicy"}), "Cluster");
}

TEST(Defaults, AreIdempotent) {
  json::value once = defaulted("batch", "v1", "jobs", R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  json::value twice = defaulted("batch", "v1", "jobs", json::serialize(once));
  EXPECT_EQ(once, twice);
}

}  // namespace
}  // namespace kcube::machinery
