#include "pkg/api/schema.h"

#include <gtest/gtest.h>

namespace kcube::api {
namespace {

TEST(Schema, KnowsTheFieldsOfAContainer) {
  const Type* container = Schema::builtin().find_type("io.k8s.api.core.v1.Container");
  ASSERT_NE(container, nullptr);
  const Field* ports = container->field("ports");
  ASSERT_NE(ports, nullptr);
  EXPECT_EQ(ports->shape, Shape::list);
  EXPECT_EQ(ports->list_type, ListType::map);
  ASSERT_EQ(ports->list_map_keys.size(), 2u);
  EXPECT_EQ(ports->list_map_keys[0], "containerPort");
  EXPECT_TRUE(ports->patch_merge);
  EXPECT_EQ(ports->patch_merge_key, "containerPort");
  EXPECT_EQ(ports->type->short_name, "ContainerPort");
  EXPECT_EQ(ports->type->field("protocol")->default_json, "\"TCP\"");
  EXPECT_EQ(container->field("nothing"), nullptr);
}

TEST(Schema, ScalarsWithANameKeepTheirKind) {
  const Type* meta = Schema::builtin().find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
  ASSERT_NE(meta, nullptr);
  EXPECT_EQ(meta->field("creationTimestamp")->kind, FieldKind::time);
  EXPECT_EQ(meta->field("labels")->shape, Shape::map);
  EXPECT_EQ(Schema::builtin().find_type("io.k8s.api.core.v1.ServicePort")->field("targetPort")->kind, FieldKind::int_or_string);
}

TEST(Schema, EveryStoredResourceHasAType) {
  for (const ResourceInfo& r : Schema::builtin().resources()) {
    if (r.subresource.empty()) {
      EXPECT_NE(r.type, nullptr) << r.group << "/" << r.resource;
    }
  }
}

TEST(Schema, ScaleIsOfAnotherGroup) {
  const ResourceInfo* scale = Schema::builtin().find_resource("apps", "v1", "deployments", "scale");
  ASSERT_NE(scale, nullptr);
  EXPECT_EQ(scale->kind_group, "autoscaling");
  EXPECT_EQ(scale->kind, "Scale");
}

TEST(Schema, HasColumnsAndTheBootstrapPolicy) {
  const ResourceInfo* pods = Schema::builtin().find_resource("", "v1", "pods");
  ASSERT_NE(pods, nullptr);
  EXPECT_EQ(pods->columns.size(), 9u);
  EXPECT_EQ(pods->columns[5].name, "IP");
  EXPECT_EQ(pods->columns[5].priority, 1);
  bool admin = false;
  for (const BootstrapRole& role : Schema::builtin().bootstrap_roles())
    if (role.name == "cluster-admin") {
      admin = true;
      ASSERT_EQ(role.rules.size(), 2u);
      EXPECT_EQ(role.rules[0].resources, "*");
      EXPECT_EQ(role.rules[1].urls, "*");
    }
  EXPECT_TRUE(admin);
}

}  // namespace
}  // namespace kcube::api
