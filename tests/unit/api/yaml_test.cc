#include "pkg/api/yaml.h"

#include <gtest/gtest.h>

namespace kcube::api {
namespace {

TEST(Yaml, TypesScalarsAsKubernetesDoes) {
  auto v = parse_yaml("a: 1\nb: '1'\nc: yes\nd: true\ne: 1.5\nf: null\ng: 0644\nh: 2026-01-01\ni: |\n  x\n  y\nj: [1, two]\n");
  ASSERT_TRUE(v);
  EXPECT_EQ(json::serialize(*v), R"({"a":1,"b":"1","c":"yes","d":true,"e":1.5E0,"f":null,"g":420,"h":"2026-01-01","i":"x\ny\n","j":[1,"two"]})");
}

TEST(Yaml, ReadsSeveralDocuments) {
  auto all = parse_documents("---\na: 1\n---\n---\nb: 2\n");
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 2u);
  EXPECT_EQ(parse_documents(R"({"a": 1})")->size(), 1u);
}

TEST(Yaml, RefusesMalformedTextAndAliasBombs) {
  EXPECT_EQ(parse_yaml("a: [1").error().code(), 400);
  EXPECT_EQ(parse_yaml("a: 1\na: 2\n").error().code(), 400);
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    std::string p = "*a" + std::to_string(i - 1), n = std::to_string(i);
    bomb += "a" + n + ": &a" + n + " [" + p + "," + p + "," + p + "," + p + "," + p + "," + p + "," + p + "," + p + "," + p + "," + p + "]\n";
  }
  EXPECT_EQ(parse_yaml(bomb).error().code(), 400);
}

TEST(Yaml, RefusesTextsOfManyNestedBracketsAtOnce) {
  auto flow = parse_yaml("a: " + std::string(500000, '['));
  ASSERT_FALSE(flow);
  EXPECT_EQ(flow.error().code(), 400);
  EXPECT_EQ(flow.error().message(), "error converting YAML to JSON: yaml: exceeded max depth of 10000");
  EXPECT_FALSE(parse_yaml(std::string(500000, '{')));
  EXPECT_FALSE(parse_yaml("a: " + std::string(5000, '[')));
}

TEST(Yaml, ReadsManyShortCollections) {
  std::string text = "a:\n";
  for (int i = 0; i < 20000; ++i) text += "- {x: [1], y: {}}\n";
  auto parsed = parse_yaml(text);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(json::get_array(json::find(&*parsed, "a")).size(), 20000U);
}

TEST(Yaml, ReadsJsonAsJson) {
  EXPECT_EQ(json::serialize(*parse_yaml(R"( {"a": "1", "b": [1.5, null], "c": {"d": true}} )")), R"({"a":"1","b":[1.5E0,null],"c":{"d":true}})");
}

}  // namespace
}  // namespace kcube::api
