#include "pkg/api/object.h"

#include <gtest/gtest.h>

namespace kcube::api {
namespace {

TEST(Object, IsEncodedWithAHoleForItsRevision) {
  auto value = json::parse(R"({"spec":{"a":1},"metadata":{"name":"x","namespace":"n","resourceVersion":"7","labels":{"resourceVersion":""}},"kind":"Pod","apiVersion":"v1"})");
  ASSERT_TRUE(value);
  auto object = Object::make(encode(*value), 42);
  EXPECT_EQ(object->bytes(),
            R"({"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"42","name":"x","namespace":"n","labels":{"resourceVersion":""}},"spec":{"a":1}})");
  EXPECT_EQ(object->key(), "n/x");
  EXPECT_EQ(object->label("resourceVersion"), "");
  EXPECT_EQ(json::get_string(object->value(), {"metadata", "resourceVersion"}), "42");
}

TEST(Object, KnowsItsController) {
  auto value = json::parse(R"({"metadata":{"ownerReferences":[{"uid":"1"},{"uid":"2","kind":"ReplicaSet","controller":true}]}})");
  EXPECT_EQ(controller_of(*value).uid, "2");
  EXPECT_EQ(owner_references(*value).size(), 2u);
}

TEST(Json, RefusesWhatIsNoJson) {
  for (const char* text : {"", "{", "{}x", "[1,]", "nul", "{\"a\":1} {}"}) EXPECT_EQ(json::parse(text).error().code(), 400) << text;
  EXPECT_TRUE(json::parse(" {\"a\": [1, 2.5, \"\\u00e9\"]} \n"));
  EXPECT_FALSE(json::parse(std::string(100000, '[')));
}

}  // namespace
}  // namespace kcube::api
