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
  EXPECT_EQ(text_of(R"(["true","1","1e3","0x1","2020-01-01","~","y","", "a: b","it's","- a","#a","a #b","a:"])"),
            "- \"true\"\n- \"1\"\n- \"1e3\"\n- \"0x1\"\n- \"2020-01-01\"\n- \"~\"\n- \"y\"\n- \"\"\n- 'a: b'\n- it's\n- '- a'\n- '#a'\n- 'a #b'\n- 'a:'\n");
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
  constexpr std::string_view kCharacters = " \n\t:-?#'\"{}[],&*!|>%@`~=<.+_0123456789aeoxyntfNTYrul\\/";
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
