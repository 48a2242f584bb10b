// Custom resources without a server: what is done with values over a structural schema.
#include <gtest/gtest.h>

#include "pkg/apiserver/extension/definition_rules.h"
#include "pkg/apiserver/extension/field_types.h"
#include "pkg/apiserver/extension/json_path.h"
#include "pkg/apiserver/extension/names.h"
#include "pkg/apiserver/extension/rules.h"
#include "pkg/apiserver/extension/schema_check.h"
#include "pkg/apiserver/machinery/structure.h"

namespace kcube::apiserver::extension {
namespace {

json::value parse(std::string_view text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value.has_value()) << text;
  return value ? std::move(*value) : json::value();
}

Structural schema(std::string_view text) { return Structural::from_json(parse(text)); }

std::string causes(const std::vector<Cause>& list) {
  std::string out;
  for (const Cause& c : list) out += c.field + ": " + c.message + "\n";
  return out;
}

std::string check(std::string_view schema_text, std::string_view value, std::string_view old = {}) {
  json::value before = old.empty() ? json::value() : parse(old);
  return causes(check_schema(schema(schema_text), parse(value), old.empty() ? nullptr : &before));
}

TEST(Structural, PrunesWhatNoSchemaSpeaksOf) {
  json::value v = parse(R"({"apiVersion":"a/v1","metadata":{"x":1},"spec":{"a":1,"b":[{"c":1,"d":2}],"any":{"z":1}}})");
  std::vector<std::string> removed;
  prune(v, schema(R"({"properties":{"spec":{"properties":{"b":{"items":{"properties":{"c":{}}}},"any":{"x-kubernetes-preserve-unknown-fields":true}}}}})"), true, &removed);
  EXPECT_EQ(removed, (std::vector<std::string>{"spec.a", "spec.b[0].d"}));
  EXPECT_EQ(v, parse(R"({"apiVersion":"a/v1","metadata":{"x":1},"spec":{"b":[{"c":1}],"any":{"z":1}}})"));
}

TEST(Structural, DefaultsAreFilledInAndStrayNullsDropped) {
  json::value v = parse(R"({"foo":null,"bar":null,"baz":null})");
  apply_defaults(v, schema(R"({"properties":{"foo":{"default":"x"},"bar":{"nullable":true},"baz":{},"deep":{"default":{},"properties":{"n":{"default":5}}}}})"));
  EXPECT_EQ(v, parse(R"({"foo":"x","bar":null,"deep":{"n":5}})"));
}

TEST(SchemaCheck, SaysWhatIsWrongInTheRealServersWords) {
  EXPECT_EQ(check(R"({"properties":{"n":{"type":"integer"}}})", R"({"n":"x"})"), "n: Invalid value: \"string\": n in body must be of type integer: \"string\"\n");
  EXPECT_EQ(check(R"({"properties":{"n":{"type":"integer","maximum":10}}})", R"({"n":11})"), "n: Invalid value: 11: n in body should be less than or equal to 10\n");
  EXPECT_EQ(check(R"({"properties":{"s":{"type":"string","pattern":"^a+$"}}})", R"({"s":"b"})"), "s: Invalid value: \"b\": s in body should match '^a+$'\n");
  EXPECT_EQ(check(R"({"required":["s"]})", "{}"), "s: Required value\n");
  EXPECT_EQ(check(R"({"properties":{"s":{"oneOf":[{"required":["a"]},{"required":["b"]}]}}})", R"({"s":{"a":1,"b":1}})"),
            "<nil>: Invalid value: \"\": \"s\" must validate one and only one schema (oneOf). Found 2 valid alternatives\n");
  EXPECT_EQ(check(R"({"properties":{"i":{"x-kubernetes-int-or-string":true}}})", R"({"i":[]})"), "i: Invalid value: \"array\": i in body must be of type integer,string: \"array\"\n");
}

TEST(SchemaCheck, PassesOverWhatWasWrongBefore) {
  constexpr const char* kSchema = R"({"properties":{"a":{"type":"string"},"l":{"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"properties":{"v":{"maximum":1}}}}}})";
  EXPECT_EQ(check(kSchema, R"({"a":5,"l":[{"k":"y","v":9},{"k":"x","v":9}]})", R"({"a":5,"l":[{"k":"x","v":9}]})"), "l[0].v: Invalid value: 9: l[0].v in body should be less than or equal to 1\n");
}

TEST(Formats, AreThoseOfTheRealServer) {
  EXPECT_TRUE(fits_format("date-time", "2020-01-02T03:04:05Z"));
  EXPECT_FALSE(fits_format("date-time", "yesterday"));
  EXPECT_TRUE(fits_format("ipv4", "10.0.0.1"));
  EXPECT_FALSE(fits_format("ipv4", "10.0.0"));
  EXPECT_TRUE(fits_format("uuid", "123e4567-e89b-12d3-a456-426614174000"));
  EXPECT_TRUE(fits_format("duration", "1h30m"));
  EXPECT_TRUE(fits_format("made-up", "anything"));
}

TEST(JsonPath, FindsMembersElementsAndFilters) {
  json::value root = parse(R"({"a":{"b":[{"n":"x","v":1},{"n":"y","v":2}]},"c.d":3})");
  auto find = [&](std::string_view path) {
    auto p = JsonPath::parse(path);
    EXPECT_TRUE(p.has_value()) << path;
    std::string out;
    if (p)
      for (const json::value* v : p->find(root)) out += json::serialize(*v) + ";";
    return out;
  };
  EXPECT_EQ(find(".a.b[*].v"), "1;2;");
  EXPECT_EQ(find(".a.b[-1].n"), "\"y\";");
  EXPECT_EQ(find(".a.b[?(@.n==\"y\")].v"), "2;");
  EXPECT_EQ(find(R"(.c\.d)"), "3;");
  EXPECT_EQ(find(".a.missing"), "");
  EXPECT_FALSE(JsonPath::parse(".a[").has_value());
}

TEST(FieldTypes, LetServerSideApplyMergeByKeysAndKeepUnknownMembers) {
  Structural s = schema(R"({"type":"object","properties":{"spec":{"type":"object","properties":{
    "ports":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","properties":{"name":{"type":"string"},"port":{"type":"integer"}}}},
    "any":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}})");
  FieldTypes types;
  machinery::Place place = machinery::Place::of(*types.build(s));
  json::value merged = machinery::merge(place, parse(R"({"spec":{"ports":[{"name":"a","port":1}],"any":{"x":{"y":1}}}})"),
                                        parse(R"({"spec":{"ports":[{"name":"b"},{"name":"a","port":2}],"any":{"x":{"z":2}}}})"));
  EXPECT_EQ(merged, parse(R"({"spec":{"ports":[{"name":"b"},{"name":"a","port":2}],"any":{"x":{"y":1,"z":2}}}})"));
}

TEST(Rules, CompareWithTheOldValueAndSpeakForThemselves) {
  Structural s = schema(R"X({"type":"object","properties":{"spec":{"type":"object",
    "x-kubernetes-validations":[{"rule":"self.min <= self.max","messageExpression":"'not ' + (self.min > 5 ? 'big' : 'small')"}],
    "properties":{"min":{"type":"integer"},"max":{"type":"integer"},
    "fixed":{"type":"string","x-kubernetes-validations":[{"rule":"self == oldSelf","message":"cannot change"}]}}}}})X");
  auto rules = Rules::compile(s, true);
  ASSERT_TRUE(rules);
  std::vector<Cause> found;
  json::value old = parse(R"({"spec":{"min":1,"max":2,"fixed":"a"}})");
  rules->evaluate(old, nullptr, found);
  EXPECT_EQ(causes(found), "");
  rules->evaluate(parse(R"({"spec":{"min":3,"max":2,"fixed":"b"}})"), &old, found);
  EXPECT_EQ(causes(found), "spec: Invalid value: not small\nspec.fixed: Invalid value: \"b\": cannot change\n");
}

TEST(Names, ConflictsKeepADefinitionFromBeingEstablished) {
  auto definition = [](std::string_view plural) {
    json::value v = parse(R"({"spec":{"names":{"singular":"foo","kind":"Foo","listKind":"FooList"}}})");
    json::ensure_path(v, {"spec", "names"})["plural"] = json::key(plural);
    return v;
  };
  json::value first = definition("foos"), second = definition("others");
  settle_names(first.get_object(), {}, SystemTime{});
  EXPECT_TRUE(condition_is(first, "Established", true));
  json::ensure_path(first, {"metadata"}) = {{"resourceVersion", "1"}, {"name", "foos"}};
  settle_names(second.get_object(), {*api::Object::from_value(first)}, SystemTime{});
  EXPECT_TRUE(condition_is(second, "NamesAccepted", false));
  EXPECT_TRUE(condition_is(second, "Established", false));
}

TEST(DefinitionRules, DefaultsPatternsAndRulesAreTried) {
  json::value definition = parse(R"({"spec":{"versions":[{"name":"v1","schema":{"openAPIV3Schema":{"type":"object","properties":{
    "a":{"type":"string","default":5},"b":{"type":"string","pattern":"["},"c":{"type":"integer","x-kubernetes-validations":[{"rule":"self.x"}]}}}}}]}})");
  std::string found = causes(validate_definition(definition, nullptr, ""));
  EXPECT_NE(found.find("properties[a].default: Invalid value: \"integer\""), std::string::npos) << found;
  EXPECT_NE(found.find("properties[b].pattern: Invalid value: \"[\": must be a valid regular expression"), std::string::npos) << found;
  EXPECT_NE(found.find("properties[c].x-kubernetes-validations[0].rule: Invalid value"), std::string::npos) << found;
}

}  // namespace
}  // namespace kcube::apiserver::extension
