#include "pkg/apiserver/machinery/openapi.h"

#include <gtest/gtest.h>

#include "pkg/api/json.h"

namespace kcube::machinery {
namespace {

TEST(OpenApi, V3DocumentsDescribeEveryGroup) {
  auto index = json::parse(openapi_v3_index(api::Schema::builtin(), {}));
  ASSERT_TRUE(index);
  for (const auto& m : json::get_object(json::find(&*index, "paths"))) {
    auto document = json::parse(openapi_v3(api::Schema::builtin(), {}, json::view(m.key())));
    ASSERT_TRUE(document) << m.key();
    EXPECT_FALSE(json::get_object(json::find(&*document, "paths")).empty());
  }
}

TEST(OpenApi, PatchOperationsTakeFieldValidation) {
  auto document = json::parse(openapi_v3(api::Schema::builtin(), {}, "api/v1"));
  const json::value& patch = document->at("paths").at("/api/v1/namespaces/{namespace}/pods/{name}").at("patch");
  bool found = false;
  for (const json::value& p : patch.at("parameters").as_array()) found = found || json::get_string(p, {"name"}) == "fieldValidation";
  EXPECT_TRUE(found);
  EXPECT_EQ(json::get_string(patch, {"x-kubernetes-group-version-kind", "kind"}), "Pod");
}

TEST(OpenApi, EveryReferenceOfV2IsDefined) {
  auto document = json::parse(openapi_v2(api::Schema::builtin(), {}));
  ASSERT_TRUE(document);
  std::string text = json::serialize(*document);
  for (size_t at = 0; (at = text.find("\"#/definitions/", at)) != std::string::npos;) {
    at += 15;
    std::string name = text.substr(at, text.find('"', at) - at);
    ASSERT_TRUE(document->at("definitions").as_object().contains(name)) << name;
  }
}

}  // namespace
}  // namespace kcube::machinery
