// What the status of an admission policy says of its expressions.
#include "pkg/controllers/factories.h"
#include "tests/unit/controllers/fake_client.h"

namespace kcube::controllers {
namespace {

const api::GroupVersionResource kPolicies{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"};
const api::GroupVersionResource kDefinitions{"apiextensions.k8s.io", "v1", "customresourcedefinitions"};

class Policies : public testing::Test {
 protected:
  Policies() { world.run(make_policy_status_controller(world.context())); }

  void define(std::string_view schema, bool served = true) {
    world.make(kDefinitions, R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"},
      "spec":{"group":"example.com","names":{"plural":"widgets","kind":"Widget"},"versions":[{"name":"v1","served":)" + std::string(served ? "true" : "false") +
                                R"(,"schema":{"openAPIV3Schema":)" + std::string(schema) + R"(}}]},"status":{"conditions":[{"type":"Established","status":"True"}]}})");
  }
  void policy(std::string_view expression, std::string_view rule = R"({"apiGroups":["example.com"],"apiVersions":["v1"],"resources":["widgets"]})", std::string_view more = "") {
    json::object validation{{"expression", json::key(expression)}};
    world.make(kPolicies, R"({"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"p","generation":1},"spec":{)" + std::string(more) +
                              R"("matchConstraints":{"resourceRules":[)" + std::string(rule) + R"(]},"validations":[)" + json::serialize(json::value(validation)) + "]}}");
    world.settle();
  }
  std::string warning() {
    api::ObjectPtr object = world.get(kPolicies, "", "p");
    EXPECT_EQ(json::get_int(object->value(), {"status", "observedGeneration"}), 1);
    std::string out;
    for (const json::value& w : json::get_array(json::at(&object->value(), {"status", "typeChecking", "expressionWarnings"}))) out += string_at(w, {"warning"});
    return out;
  }
  World world;
};

constexpr std::string_view kSchema = R"({"type":"object","properties":{"spec":{"type":"object","properties":{
  "size":{"type":"integer"},"either":{"x-kubernetes-int-or-string":true},"until":{"type":"string","format":"date-time"},"kept":{"type":"object","x-kubernetes-preserve-unknown-fields":true},
  "tags":{"type":"object","additionalProperties":{"type":"string"}},"parts":{"type":"array","items":{"type":"object","properties":{"my-name":{"type":"string"}}}},
  "inner":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}}}})";

TEST_F(Policies, WhatASchemaOfADefinitionLacksIsWarnedOf) {
  define(kSchema);
  policy("object.spec.sise > 1");
  EXPECT_EQ(warning(), "example.com/v1, Kind=Widget: ERROR: <input>:1:12: undefined field 'sise'\n | object.spec.sise > 1\n | ...........^\n");
}

TEST_F(Policies, TypesOfADefinitionAreCompared) {
  define(kSchema);
  policy("object.spec.size == 'large'");
  EXPECT_EQ(warning(), "example.com/v1, Kind=Widget: ERROR: <input>:1:18: found no matching overload for '_==_' applied to '(int, string)'\n | object.spec.size == 'large'\n | .................^\n");
}

TEST_F(Policies, WhatFitsTheSchemaOfADefinitionIsNot) {
  define(kSchema);
  policy("object.spec.size > 1 && object.spec.either == 'x' && object.spec.until < timestamp('2026-01-01T00:00:00Z') && object.spec.tags.a == 'b' && has(object.spec.kept)"
         " && object.spec.parts.all(p, p.my__dash__name != '') && object.metadata.labels['a'] == '' && object.spec.inner.metadata.name == '' && object.kind == 'Widget'"
         " && request.userInfo.username == '' && namespaceObject.metadata.name == ''");
  EXPECT_EQ(warning(), "");
}

TEST_F(Policies, MembersThatAreOnlyPreservedCannotBeNamed) {
  define(kSchema);
  policy("object.spec.kept.some == 1");
  EXPECT_NE(warning().find("undefined field 'some'"), std::string::npos) << warning();
}

TEST_F(Policies, OtherVariablesAreTypedToo) {
  define(kSchema);
  policy("request.nme == '' || namespaceObject.metadata.nme == ''");
  EXPECT_NE(warning().find("undefined field 'nme'\n"), std::string::npos) << warning();
}

TEST_F(Policies, AreLookedIntoAgainWhenADefinitionComesChangesAndGoes) {
  policy("object.spec.sise > 1");
  EXPECT_EQ(warning(), "");
  define(kSchema);
  world.settle();
  EXPECT_NE(warning(), "");
  world.patch(kDefinitions, "", "widgets.example.com", R"({"spec":{"versions":[{"name":"v1","served":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"sise":{"type":"integer"}}}}}}}]}})");
  world.settle();
  EXPECT_EQ(warning(), "");
  world.patch(kDefinitions, "", "widgets.example.com", R"({"spec":{"versions":[{"name":"v1","served":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}})");
  world.settle();
  EXPECT_NE(warning(), "");
  ASSERT_TRUE(world.client.remove(kDefinitions, "", "widgets.example.com", {}));
  world.settle();
  EXPECT_EQ(warning(), "");
}

TEST_F(Policies, ParametersOfADefinitionAreTyped) {
  define(kSchema);
  policy("params.spec.size < object.spec.replicas && params.spec.most == 1", R"({"apiGroups":["apps"],"apiVersions":["v1"],"resources":["deployments"]})",
         R"("paramKind":{"apiVersion":"example.com/v1","kind":"Widget"},)");
  EXPECT_EQ(warning().find("apps/v1, Kind=Deployment: ERROR: <input>:1:55: undefined field 'most'\n"), 0u) << warning();
}

TEST_F(Policies, KindsAreInOrderAndAtMostTenOfARule) {
  define(kSchema);
  policy("object.nope == 1", R"({"apiGroups":["example.com","apps",""],"apiVersions":["v1"],"resources":["widgets","pods","deployments","*","pods/status"]})");
  std::string all = warning();
  size_t pod = all.find("/v1, Kind=Pod: "), deployment = all.find("\n\napps/v1, Kind=Deployment: "), widget = all.find("\n\nexample.com/v1, Kind=Widget: ");
  EXPECT_EQ(pod, 0u);
  EXPECT_TRUE(pod < deployment && deployment < widget && widget != std::string::npos) << all;
}

TEST_F(Policies, AVersionThatIsNotServedHasNoKinds) {
  define(kSchema, false);
  policy("object.spec.sise > 1");
  EXPECT_EQ(warning(), "");
}

TEST_F(Policies, ARuleWithAPatternIsPassedOver) {
  define(kSchema);
  policy("object.spec.sise > 1", R"({"apiGroups":["*"],"apiVersions":["v1"],"resources":["widgets"]},{"apiGroups":["example.com"],"apiVersions":["v1","*"],"resources":["widgets"]})");
  EXPECT_EQ(warning(), "");
}

}  // namespace
}  // namespace kcube::controllers
