#include "pkg/api/selector.h"

#include <gtest/gtest.h>

namespace kcube::api {
namespace {

TEST(LabelSelector, MatchesEveryOperator) {
  LabelPairs labels = {{"app", "web"}, {"n", "5"}, {"tier", "front"}};
  for (const char* yes : {"", "app=web", "app==web", "app!=db", "app in (db, web)", "tier notin (back)", "app", "!missing", "n>4",
                          "n<6,app=web", "missing!=x", "missing notin (a)"})
    EXPECT_TRUE(LabelSelector::parse(yes)->matches(labels)) << yes;
  for (const char* no : {"app=db", "!app", "app in (a,b)", "n>5", "missing", "app=web,tier=back", "missing in (a)"})
    EXPECT_FALSE(LabelSelector::parse(no)->matches(labels)) << no;
}

TEST(LabelSelector, RefusesMalformedText) {
  for (const char* text : {"a=b,", "=b", "a in b", "a in (b", "a b", "a>x", "-a=b", "a=b c", "a==b=c", ","})
    EXPECT_FALSE(LabelSelector::parse(text)) << text;
}

TEST(LabelSelector, NullMatchesNothingAndEmptyEverything) {
  auto empty = json::parse("{}");
  EXPECT_TRUE(LabelSelector::from_json(&*empty)->matches(LabelPairs{}));
  EXPECT_FALSE(LabelSelector::from_json(nullptr)->matches(LabelPairs{}));
}

TEST(FieldSelector, ComparesPaths) {
  auto pod = json::parse(R"({"metadata":{"name":"x"},"spec":{"nodeName":"n1"}})");
  EXPECT_TRUE(FieldSelector::parse("spec.nodeName=n1,metadata.name!=y")->matches(*pod));
  EXPECT_FALSE(FieldSelector::parse("spec.nodeName=")->matches(*pod));
  EXPECT_TRUE(FieldSelector::parse("status.phase=")->matches(*pod));
  EXPECT_FALSE(FieldSelector::parse("nonsense"));
  EXPECT_EQ(*FieldSelector::parse("spec.nodeName=n1")->required_value("spec.nodeName"), "n1");
}

}  // namespace
}  // namespace kcube::api
