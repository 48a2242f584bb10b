#include "pkg/apiserver/machinery/yaml_text.h"

#include <gtest/gtest.h>

#include <random>

#include "pkg/api/yaml.h"

namespace kcube::machinery {
namespace {

std::string text_of(const char* json_text) { return yaml_text(*json::parse(json_text)); }

TEST(YamlText, WritesBlocksByNameAndListsBesideTheirKey) {
  EXPECT_EQ(text_of(R"({"b":[{"w":1,"x":[]},"z"],"a":{"c":{}},"n":null})"), "a:\n  c: {}\nb:\n- w: 1\n  x: []\n- z\n\"n\": null\n");
}

TEST(YamlText, QuotesWhatWouldBeReadOtherwise) {
  EXPECT_EQ(text_of(R"(["true","1","1e3","0x1","2020-01-01","+_028","~","y","", "a: b","it's","- a","#a","a #b","a:"])"),
            "- \"true\"\n- \"1\"\n- \"1e3\"\n- \"0x1\"\n- \"2020-01-01\"\n- \"+_028\"\n- \"~\"\n- \"y\"\n- \"\"\n- 'a: b'\n- it's\n- '- a'\n- '#a'\n- 'a #b'\n- 'a:'\n");
}

// As sigs.k8s.io/yaml has them.
TEST(YamlText, EscapesWhatIsNotSeen) {
  EXPECT_EQ(text_of(R"(["a\u0085b","a\rb","\u007f","\u0001\u001b\u001f\u0007\b\u000b\f\u0000","\t\"q\\","\u0080\u009f é","\ud83d\ude00","\ufeffa","日本"])"),
            "- \"a\\Nb\"\n- \"a\\rb\"\n- \"\\x7F\"\n- \"\\x01\\e\\x1F\\a\\b\\v\\f\\0\"\n- \"\\t\\\"q\\\\\"\n- \"\\x80\\x9F é\"\n- \"\\U0001F600\"\n- \"\\uFEFFa\"\n- 日本\n");
}

TEST(YamlText, BreaksLongLinesInQuotes) {
  std::string words;
  for (int i = 0; i < 20; ++i) words += "word \xf0\x9f\x98\x80 ";
  const std::string line = "word \\U0001F600 word \\U0001F600 word \\U0001F600 word \\U0001F600 word \\U0001F600";
  EXPECT_EQ(yaml_text(json::object{{"k", words}}), "k: \"" + line + "\n  " + line + "\n  " + line + "\n  " + line + " \"\n");
  const json::value spaces = json::object{{"k", "\t" + std::string(100, 'a') + "   " + std::string(100, 'b') + "  "}};
  EXPECT_EQ(*api::parse_yaml(yaml_text(spaces)), spaces);
}

TEST(YamlText, PutsLongKeysBehindAQuestionMark) {
  const std::string name(130, 'k'), longer(2000, 'k');
  EXPECT_EQ(yaml_text(json::object{{name, 1}}), "? " + name + "\n: 1\n");
  EXPECT_EQ(yaml_text(json::object{{name, json::object{{"a", 1}, {"b", json::array{1, 2}}}}}), "? " + name + "\n: a: 1\n  b:\n  - 1\n  - 2\n");
  EXPECT_EQ(yaml_text(json::object{{name, json::array{1, 2}}}), "? " + name + "\n: - 1\n  - 2\n");
  const json::value object = json::object{{"m", json::object{{longer, json::object{{longer, "x"}}}}}};
  EXPECT_EQ(*api::parse_yaml(yaml_text(object)), object);
}

TEST(YamlText, IsReadAsWhatItWas) {
  for (const char* text : {R"({"a":"one\ntwo\n","b":"one\ntwo","c":"\n","d":"x\n\n","e":" x\ny","f":"\t","g":"\u0001","h":"trailing \nspace"})", R"({"long":"one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen","k":{"a b: c":1.5,"-":-3}})",
                           R"([[["x"],[]],{"a":[{"b":[1]}]}])", R"({"u":"\u00e9","v":"a\\b \"c\"","w":"'"})"}) {
    auto value = json::parse(text);
    ASSERT_TRUE(value);
    auto back = api::parse_yaml(yaml_text(*value));
    ASSERT_TRUE(back) << yaml_text(*value) << back.error().message();
    EXPECT_EQ(*back, *value) << yaml_text(*value);
  }
}

TEST(YamlText, IsReadAsWhatItWasWhateverTheText) {
  constexpr std::string_view kCharacters = "\r \n\t:-?#'\"{}[],&*!|>%@`~=<.+_0123456789aeoxyntfNTYrul\\/";
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) text += kCharacters[random() % kCharacters.size()];
    if (i % 50 == 0) text += std::string(random() % 200, ' ') + "a" + text + " b c d";
    const json::value value = json::object{{text, json::array{json::value(text), json::object{{"k", text}}}}};
    auto back = api::parse_yaml(yaml_text(value));
    ASSERT_TRUE(back) << json::serialize(value) << "\n" << yaml_text(value) << back.error().message();
    ASSERT_EQ(*back, value) << json::serialize(value) << "\n" << yaml_text(value);
  }
}

}  // namespace
}  // namespace kcube::machinery
