#include "pkg/controllers/factories.h"
#include "tests/unit/controllers/fake_client.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

class Services : public testing::Test {
 protected:
  World world;
  void SetUp() override {
    world.run(make_endpoints_controller(world.context()), make_endpoint_slice_controller(world.context()),
              make_endpoint_slice_mirroring_controller(world.context()));
  }
  void pod(const std::string& name, const std::string& port_name = "http", int port = 8080) {
    world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","namespace":"default","labels":{"app":"web"}},
      "spec":{"hostname":")" + name + R"(","subdomain":"web","containers":[{"name":"c","ports":[{"name":")" + port_name + R"(","containerPort":)" +
                          std::to_string(port) + R"(}]}]}})");
  }
  void service(const std::string& extra = "") {
    world.make(kServices, R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"default","labels":{"team":"a"}},"spec":{)" + extra +
                              R"("selector":{"app":"web"},"ipFamilies":["IPv4"],"ports":[{"name":"h","port":80,"targetPort":"http"}]}})");
    world.settle();
  }
  json::array endpoints() {
    json::array all;
    for (const auto& slice : world.list(kEndpointSlices, "default"))
      for (const auto& e : json::get_array(json::find(&slice->value(), "endpoints"))) all.push_back(e);
    return all;
  }
};

TEST_F(Services, EndpointsFollowReadiness) {
  world.make(kNodes, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"node1","labels":{"topology.kubernetes.io/zone":"z1"}}})");
  service();
  auto slices = world.list(kEndpointSlices);
  ASSERT_EQ(slices.size(), 1u);  // empty, so that everyone knows
  EXPECT_TRUE(endpoints().empty());
  EXPECT_EQ(slices[0]->label("kubernetes.io/service-name"), "web");
  EXPECT_EQ(slices[0]->label("team"), "a");
  EXPECT_EQ(slices[0]->label("endpointslice.kubernetes.io/managed-by"), "endpointslice-controller.k8s.io");
  pod("a");
  pod("b");
  world.run_pods();
  ASSERT_EQ(world.list(kEndpointSlices).size(), 1u);
  ASSERT_EQ(endpoints().size(), 2u);
  json::value first = endpoints()[0];
  EXPECT_TRUE(json::get_bool(first, {"conditions", "ready"}));
  EXPECT_EQ(json::get_string(first, {"nodeName"}), "node1");
  EXPECT_EQ(json::get_string(first, {"zone"}), "z1");
  EXPECT_FALSE(json::get_string(first, {"hostname"}).empty());
  EXPECT_EQ(json::get_int(json::get_array(json::find(&world.list(kEndpointSlices)[0]->value(), "ports"))[0], {"port"}), 8080);
  auto v1 = world.get(kEndpoints, "default", "web");
  ASSERT_TRUE(v1);
  const json::array& subsets = json::get_array(json::find(&v1->value(), "subsets"));
  ASSERT_EQ(subsets.size(), 1u);
  EXPECT_EQ(json::get_array(json::find(&subsets[0], "addresses")).size(), 2u);

  world.client.hold_pods = true;
  (void)world.client.remove(kPods, "default", "a", {});
  world.settle();
  int terminating = 0;
  for (const json::value& e : endpoints())
    if (json::get_bool(e, {"conditions", "terminating"})) {
      ++terminating;
      EXPECT_TRUE(json::get_bool(e, {"conditions", "serving"}));
      EXPECT_FALSE(json::get_bool(e, {"conditions", "ready"}));
    }
  EXPECT_EQ(terminating, 1);
  world.client.finish_deletion(kPods, "default", "a");
  world.settle();
  EXPECT_EQ(endpoints().size(), 1u);
}

TEST_F(Services, NamedPortsThatDifferMakeTwoSlices) {
  service();
  pod("a", "http", 8080);
  pod("b", "http", 9090);
  world.run_pods();
  EXPECT_EQ(world.list(kEndpointSlices).size(), 2u);
  world.client.finish_deletion(kPods, "default", "b");
  world.settle();
  EXPECT_EQ(world.list(kEndpointSlices).size(), 1u);
}

TEST_F(Services, PublishNotReadyAddresses) {
  service(R"("publishNotReadyAddresses":true,"clusterIP":"None",)");
  pod("a");
  world.run_pods("node1", false);
  ASSERT_EQ(endpoints().size(), 1u);
  EXPECT_TRUE(json::get_bool(endpoints()[0], {"conditions", "ready"}));
  EXPECT_FALSE(json::get_bool(endpoints()[0], {"conditions", "serving"}));
  EXPECT_TRUE(has(world.list(kEndpointSlices)[0]->value(), {"metadata", "labels", "service.kubernetes.io/headless"}));
}

TEST_F(Services, AHundredPodsASlice) {
  service();
  for (int i = 0; i < 120; ++i) pod("p" + std::to_string(i));
  world.run_pods();
  EXPECT_EQ(world.list(kEndpointSlices).size(), 2u);
  EXPECT_EQ(endpoints().size(), 120u);
}

TEST_F(Services, HandMadeEndpointsAreMirrored) {
  world.make(kServices, R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"ext","namespace":"default"},"spec":{"ports":[{"port":80}]}})");
  world.make(kEndpoints, R"({"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"ext","namespace":"default"},
    "subsets":[{"addresses":[{"ip":"192.0.2.1"}],"ports":[{"port":80,"protocol":"TCP"}]}]})");
  world.settle();
  ASSERT_EQ(world.list(kEndpointSlices).size(), 1u);
  EXPECT_EQ(world.list(kEndpointSlices)[0]->label("endpointslice.kubernetes.io/managed-by"), "endpointslicemirroring-controller.k8s.io");
  (void)world.client.remove(kEndpoints, "default", "ext", {});
  world.settle();
  EXPECT_TRUE(world.list(kEndpointSlices).empty());
}

TEST(Namespaces, AreEmptiedPodsFirstAndThenFinalized) {
  World world;
  Options options;
  options.ca_pem = "PEM";
  world.run(make_namespace_controller(world.context()), make_service_account_controller(world.context()), make_root_ca_controller(world.context(), options));
  world.make(kNamespaces, R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"},"spec":{"finalizers":["kubernetes"]}})");
  world.settle();
  EXPECT_TRUE(world.get(kServiceAccounts, "a", "default"));
  EXPECT_EQ(string_at(world.get(kConfigMaps, "a", "kube-root-ca.crt")->value(), {"data", "ca.crt"}), "PEM");
  (void)world.client.remove(kConfigMaps, "a", "kube-root-ca.crt", {});
  (void)world.client.remove(kServiceAccounts, "a", "default", {});
  world.settle();
  EXPECT_TRUE(world.get(kServiceAccounts, "a", "default"));
  EXPECT_TRUE(world.get(kConfigMaps, "a", "kube-root-ca.crt"));
  world.make(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"a"},"spec":{}})");
  world.client.hold_pods = true;
  (void)world.client.remove(kNamespaces, "", "a", {});
  world.settle();
  auto ns = world.get(kNamespaces, "", "a");
  ASSERT_TRUE(ns);
  EXPECT_TRUE(condition_is(ns->value(), "NamespaceContentRemaining"));
  EXPECT_EQ(string_at(*find_condition(ns->value(), "NamespaceContentRemaining"), {"message"}), "Some resources are remaining: pods. has 1 resource instances");
  EXPECT_TRUE(world.get(kConfigMaps, "a", "kube-root-ca.crt"));
  world.client.finish_deletion(kPods, "a", "p");
  world.settle();
  EXPECT_FALSE(world.get(kNamespaces, "", "a"));
  EXPECT_TRUE(world.list(kConfigMaps, "a").empty());
}

}  // namespace
}  // namespace kcube::controllers
