#include "pkg/apiserver/machinery/patch.h"
#include "pkg/apiserver/machinery/scale_managers.h"
#include "pkg/apiserver/machinery/unstructured.h"

#include <gtest/gtest.h>

namespace kcube::machinery {
namespace {

json::value j(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v) << text;
  return v ? std::move(*v) : json::value();
}

const api::Type& pod() { return *api::Schema::builtin().find_kind("", "v1", "Pod"); }

TEST(JsonPatch, AppliesEveryOperation) {
  auto r = json_patch(j(R"({"a":{"b":[1,2]},"c/d":0})"),
                      j(R"([{"op":"add","path":"/a/b/1","value":9},{"op":"add","path":"/a/b/-","value":3},{"op":"remove","path":"/a/b/0"},
                            {"op":"replace","path":"/c~1d","value":true},{"op":"copy","from":"/a/b","path":"/e"},{"op":"move","from":"/e/0","path":"/f"},
                            {"op":"test","path":"/f","value":9}])"));
  ASSERT_TRUE(r) << r.error().message();
  EXPECT_EQ(*r, j(R"({"a":{"b":[9,2,3]},"c/d":true,"e":[2,3],"f":9})"));
}

TEST(JsonPatch, RefusesWhatDoesNotApply) {
  EXPECT_EQ(json_patch(j("{}"), j(R"([{"op":"remove","path":"/x"}])")).error().code(), 422);
  EXPECT_EQ(json_patch(j(R"({"a":1})"), j(R"([{"op":"test","path":"/a","value":2}])")).error().code(), 422);
  EXPECT_EQ(json_patch(j("{}"), j("{}")).error().code(), 400);
  EXPECT_EQ(json_patch(j("{}"), j(R"([{"op":"dance","path":"/x"}])")).error().code(), 422);
}

TEST(MergePatch, NullDeletes) {
  EXPECT_EQ(merge_patch(j(R"({"a":1,"b":{"c":1,"d":[1]}})"), j(R"({"a":null,"b":{"d":[2]},"e":{"f":null,"g":1}})")), j(R"({"b":{"c":1,"d":[2]},"e":{"g":1}})"));
}

TEST(StrategicMerge, MergesListsByTheirKey) {
  auto r = strategic_merge_patch(j(R"({"spec":{"containers":[{"name":"a","image":"1","args":["x"]},{"name":"b","image":"1"}]}})"),
                                 j(R"({"spec":{"containers":[{"name":"b","image":"2"},{"name":"c","image":"3"},{"name":"a","args":["y"]}]}})"), pod());
  ASSERT_TRUE(r);
  EXPECT_EQ(*r, j(R"({"spec":{"containers":[{"name":"b","image":"2"},{"name":"c","image":"3"},{"name":"a","image":"1","args":["y"]}]}})"));
}

TEST(StrategicMerge, FollowsDirectives) {
  auto merged = [](const char* object, const char* patch) {
    auto r = strategic_merge_patch(j(object), j(patch), pod());
    EXPECT_TRUE(r);
    return r ? *r : json::value();
  };
  EXPECT_EQ(merged(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})", R"({"spec":{"containers":[{"name":"a","$patch":"delete"}]}})"),
            j(R"({"spec":{"containers":[{"name":"b"}]}})"));
  EXPECT_EQ(merged(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})", R"({"spec":{"containers":[{"name":"c"},{"$patch":"replace"}]}})"),
            j(R"({"spec":{"containers":[{"name":"c"}]}})"));
  EXPECT_EQ(merged(R"({"metadata":{"finalizers":["a","b"]}})", R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["c"]}})"),
            j(R"({"metadata":{"finalizers":["c","b"]}})"));
  EXPECT_EQ(merged(R"({"metadata":{"labels":{"a":"1","b":"2"}}})", R"({"metadata":{"labels":{"a":null,"$patch":"merge","c":"3"}}})"),
            j(R"({"metadata":{"labels":{"b":"2","c":"3"}}})"));
  EXPECT_EQ(merged(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                   R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"b","image":"x"}]}})"),
            j(R"({"spec":{"containers":[{"name":"b","image":"x"},{"name":"a"}]}})"));
}

// What `kubectl patch --local` makes of the same.
TEST(StrategicMerge, PutsNewElementsFirstAndKeepsTheOrderOfOthers) {
  auto names = [](const char* patch) {
    auto r = strategic_merge_patch(j(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})"), j(patch), pod());
    EXPECT_TRUE(r);
    std::string out;
    for (const json::value& c : json::get_array(json::at(&*r, {"spec", "containers"}))) out += json::get_string(c, {"name"});
    return out;
  };
  EXPECT_EQ(names(R"({"spec":{"containers":[{"name":"c","image":"3"}]}})"), "cab");
  EXPECT_EQ(names(R"({"spec":{"containers":[{"name":"b","image":"3"},{"name":"d","image":"3"}]}})"), "abd");
  EXPECT_EQ(names(R"({"spec":{"$setElementOrder/containers":[{"name":"d"},{"name":"b"}],"containers":[{"name":"d","image":"x"}]}})"), "dab");
}

TEST(StrategicMerge, NeedsTheMergeKey) {
  EXPECT_EQ(strategic_merge_patch(j(R"({"spec":{"containers":[]}})"), j(R"({"spec":{"containers":[{"image":"x"}]}})"), pod()).error().code(), 500);
}

TEST(StrategicMerge, RefusesInTheWordsOfTheRealServer) {
  auto refused = [&](const char* patch) { return strategic_merge_patch(j(R"({"spec":{"containers":[{"name":"a","image":"1"}]}})"), j(patch), pod()).error(); };
  EXPECT_EQ(refused(R"({"spec":{"containers":[{"image":"x"}]}})").message(), "map: map[image:x] does not contain declared merge key: name");
  EXPECT_EQ(refused(R"({"spec":{"containers":["x"]}})").message(), "list element types are not identical: [[map[image:1 name:a]] [x]]");
  EXPECT_EQ(refused(R"({"spec":{"$patch":"nope"}})").message(), "unknown patch type: nope in map: map[$patch:nope]");
  EXPECT_EQ(refused(R"({"spec":{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"name":"a","image":"2"}]}})").message(),
            "The order in patch list:\n[map[image:2 name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n");
  EXPECT_EQ(refused(R"({"spec":{"containers":[["x"]]}})").code(), 422);
}

TEST(Unstructured, NamesTheFirstValueOfTheWrongShape) {
  auto problem = [&](const char* value) { return unstructured_problem(j(value), pod()); };
  EXPECT_EQ(problem(R"({"spec":"x"})"), "cannot restore struct from: string");
  EXPECT_EQ(problem(R"({"spec":{"containers":"x"}})"), "cannot restore slice from string");
  EXPECT_EQ(problem(R"({"spec":{"priority":"x"}})"), "unrecognized type: int32");
  EXPECT_EQ(problem(R"({"metadata":{"labels":[1]}})"), "cannot restore map from slice");
  EXPECT_EQ(problem(R"({"spec":{"containers":[{"name":"a"}]}})"), "");
}

// The manager of a Scale is known by another version than that of the object.
TEST(ScaleManagers, CarryOverWhoOwnsTheReplicas) {
  auto object = j(R"({"metadata":{"managedFields":[
    {"manager":"a","operation":"Update","apiVersion":"apps/v1","time":"t","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{},"f:x":{}}}},
    {"manager":"b","operation":"Apply","apiVersion":"apps/v1","time":"t","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}}}]}})");
  json::array of_scale = managers_of_scale(object, "spec.replicas");
  ASSERT_EQ(of_scale.size(), 2U);
  EXPECT_EQ(json::serialize(*json::find(&of_scale[0], "fieldsV1")), R"({"f:spec":{"f:replicas":{}}})");
  EXPECT_EQ(json::get_string(of_scale[0], {"apiVersion"}), "autoscaling/v1");
  auto scale = j(R"({"metadata":{"managedFields":[{"manager":"s","operation":"Update","apiVersion":"autoscaling/v1","subresource":"scale","time":"u","fieldsV1":{"f:spec":{"f:replicas":{}}}}]}})");
  json::array after = managers_of_scaled(object, scale, "spec.replicas", "apps/v1");
  ASSERT_EQ(after.size(), 2U);
  EXPECT_EQ(json::serialize(*json::find(&after[0], "fieldsV1")), R"({"f:spec":{"f:x":{}}})");
  EXPECT_EQ(json::get_string(after[1], {"manager"}), "s");
  EXPECT_EQ(json::get_string(after[1], {"apiVersion"}), "apps/v1");
  EXPECT_EQ(json::find(&after[1], "time"), nullptr);
}

TEST(JsonPatch, RefusesToGrowWithoutBound) {
  // Each operation doubles what is there, or puts it all into itself.
  std::string doubling = R"([{"op":"add","path":"/a","value":")" + std::string(1000, 'x') + "\"}", nesting = R"([{"op":"add","path":"/a","value":{}})";
  for (int i = 0; i < 40; ++i) doubling += R"(,{"op":"copy","from":"","path":"/n)" + std::to_string(i) + "\"}";
  for (int i = 0; i < 40; ++i) nesting += R"(,{"op":"copy","from":"","path":"/a"})";
  auto large = json_patch(j("{}"), j(doubling + "]"));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code(), 422);
  EXPECT_NE(large.error().message().find("exceeding the limit 3145728"), std::string::npos);
  EXPECT_TRUE(json_patch(j("{}"), j(nesting + "]")));
  std::string deep;
  for (int i = 0; i < 600; ++i) deep += "/a";
  EXPECT_EQ(json_patch(j("{}"), j(R"([{"op":"add","path":")" + deep + R"(","value":1}])")).error().code(), 422);
}

TEST(MergePatch, RemovesManyMembersAtOnceAndKeepsTheOrderOfTheOthers) {
  json::object object, patch;
  for (int i = 0; i < 100000; ++i) {
    object["k" + std::to_string(i)] = i;
    if (i % 3 != 0) patch["k" + std::to_string(i)] = nullptr;
  }
  patch["new"] = 1;
  auto merged = merge_patch(object, patch);
  const json::object& o = merged.get_object();
  ASSERT_EQ(o.size(), 33335U);
  EXPECT_EQ(o.begin()->key(), "k0");
  EXPECT_EQ((o.begin() + 1)->key(), "k3");
  EXPECT_EQ((o.end() - 1)->key(), "new");
  EXPECT_EQ(o.at("k99999").as_int64(), 99999);
}

}  // namespace
}  // namespace kcube::machinery
