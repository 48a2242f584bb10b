#include "pkg/api/yaml.h"

#include <gtest/gtest.h>

namespace kcube::api {
namespace {

TEST(Yaml, TypesScalarsAsKubernetesDoes) {
  auto v = parse_yaml("a: 1\nb: '1'\nc: yes\nd: true\ne: 1.5\nf: null\ng: 0644\nh: 2026-01-01\ni: |\n  x\n  y\nj: [1, two]\n");
  ASSERT_TRUE(v);
  EXPECT_EQ(json::serialize(*v), R"({"a":1,"b":"1","c":true,"d":true,"e":1.5E0,"f":null,"g":420,"h":"2026-01-01","i":"x\ny\n","j":[1,"two"]})");
}

TEST(Yaml, ReadsEscapes) {
  EXPECT_EQ(json::serialize(*parse_yaml(R"({"\N k": "\x41\u00e9\U0001F600 a\Nb\_c\Ld\Pe\e\/é"})")),
            "{\"\u0085 k\":\"A\u00e9\U0001F600 a\u0085b\u00a0c\u2028d\u2029e\\u001b/é\"}");
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

TEST(Yaml, ReadsNumbersAndTagsOfYaml11) {
  auto read = [](std::string_view scalar) {
    auto v = parse_yaml("a: " + std::string(scalar));
    return v ? json::serialize(*json::find(&*v, "a")) : v.error().message();
  };
  EXPECT_EQ(read("0x1F"), "31");
  EXPECT_EQ(read("0b11"), "3");
  EXPECT_EQ(read("0o14"), "12");
  EXPECT_EQ(read("1_000"), "1000");
  EXPECT_EQ(read("+1"), "1");
  EXPECT_EQ(read("-12"), "-12");
  EXPECT_EQ(read("08"), "8");
  EXPECT_EQ(read(".5"), "5E-1");
  EXPECT_EQ(read("190:20:30"), "\"190:20:30\"");
  EXPECT_EQ(read("off"), "false");
  EXPECT_EQ(read("\"off\""), "\"off\"");
  EXPECT_EQ(read("!!str yes"), "\"yes\"");
  EXPECT_EQ(read("!!binary aGk="), "\"hi\"");
  EXPECT_EQ(read("!!int \"3\""), "3");
  EXPECT_EQ(read(".inf"), "error converting YAML to JSON: json: unsupported value: +Inf");
}

TEST(Yaml, TellsOfKeysThatABodyHasTwice) {
  std::vector<std::string> duplicates;
  auto v = parse_yaml_body("a: 1\nb:\n  c: 1\n  c: 2\na: 2\n---\nmore: 1\n", duplicates);
  ASSERT_TRUE(v);
  EXPECT_EQ(json::serialize(*v), R"({"a":2,"b":{"c":2}})");
  EXPECT_EQ(duplicates, (std::vector<std::string>{"line 4: key \"c\" already set in map", "line 5: key \"a\" already set in map"}));
}

TEST(Yaml, RefusesWhatIsNestedTooDeeplyAndNoUnicode) {
  std::string flow(10000, '['), dashes, block;
  for (int i = 0; i < 10000; ++i) dashes += "- ";
  for (size_t i = 0; i < 2000; ++i) block += std::string(i, ' ') + "a:\n";
  for (const std::string& text : {flow, flow + std::string(10000, ']'), dashes, block}) {
    auto v = parse_yaml(text);
    ASSERT_FALSE(v);
    EXPECT_NE(v.error().message().find("exceeded max depth"), std::string::npos) << v.error().message();
  }
  // Took for ever, once.
  EXPECT_EQ(parse_yaml_stream(",").error().message(), "error converting YAML to JSON: yaml: did not find expected node content");
  EXPECT_EQ(parse_yaml(",{\"").error().code(), 400);
  // Took seconds, once.
  EXPECT_EQ(parse_yaml(std::string_view(",{\0\0\0#\0\0,{\0\0\0#\0\0\0", 17)).error().message(), "error converting YAML to JSON: yaml: control characters are not allowed");
  EXPECT_EQ(parse_yaml("a: \xff").error().message(), "error converting YAML to JSON: yaml: invalid leading UTF-8 octet");
}

}  // namespace
}  // namespace kcube::api
