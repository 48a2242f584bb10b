#include "pkg/apiserver/machinery/decode.h"

#include <gtest/gtest.h>

namespace kcube::machinery {
namespace {

const api::Type& type_of(std::string_view kind) { return *api::Schema::builtin().find_kind("", "v1", kind); }

Result<Decoded> decode(std::string_view kind, std::string_view text, FieldValidation validation = FieldValidation::warn) {
  auto value = json::parse(text);
  EXPECT_TRUE(value);
  return check_types(std::move(*value), type_of(kind), validation);
}

// The messages are those of kube-apiserver 1.36.
TEST(Decode, NamesTheFieldOfTheWrongType) {
  struct Case {
    const char *kind, *text, *message;
  };
  for (const Case& c : {
           Case{"Pod", R"({"spec":{"hostNetwork":"x"}})", "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"},
           {"Pod", R"({"spec":{"containers":"x"}})", "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"},
           {"ConfigMap", R"({"data":{"a":1}})", "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"},
           {"ConfigMap", R"({"metadata":{"name":5}})", "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"},
           {"Service", R"({"spec":{"ports":[{"port":"x"}]}})", "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32"},
           {"Service", R"({"spec":{"ports":[{"port":99999999999}]}})",
            "json: cannot unmarshal number 99999999999 into Go struct field ServicePort.spec.ports.port of type int32"},
           {"Secret", R"({"data":{"a":"!!"}})", "illegal base64 data at input byte 0"},
           {"Pod", R"({"metadata":{"creationTimestamp":"x"}})", "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""},
       }) {
    auto r = decode(c.kind, c.text);
    ASSERT_FALSE(r) << c.text;
    EXPECT_EQ(r.error().code(), 400);
    EXPECT_EQ(r.error().message(), c.message);
  }
}

// As Go's time.Parse, to the word.
TEST(Decode, ReadsTimesAsGoDoes) {
  auto time = [](std::string_view text) {
    auto r = decode("Pod", R"({"metadata":{"deletionTimestamp":")" + std::string(text) + R"("}})");
    return r ? std::string(json::get_string(r->value, {"metadata", "deletionTimestamp"})) : r.error().message();
  };
  EXPECT_EQ(time("2026-01-02T03:04:05.1234Z"), "2026-01-02T03:04:05Z");
  EXPECT_EQ(time("2026-01-02T3:04:05,5+05:30"), "2026-01-01T21:34:05Z");
  EXPECT_EQ(time("2026-1-02T03:04:05Z"), "parsing time \"2026-1-02T03:04:05Z\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"1-02T03:04:05Z\" as \"01\"");
  EXPECT_EQ(time("2026-01-02 03:04:05Z"), "parsing time \"2026-01-02 03:04:05Z\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \" 03:04:05Z\" as \"T\"");
  EXPECT_EQ(time("2026-13-02T03:04:05Z"), "parsing time \"2026-13-02T03:04:05Z\": month out of range");
  EXPECT_EQ(time("2026-02-30T03:04:05Z"), "parsing time \"2026-02-30T03:04:05Z\": day out of range");
  EXPECT_EQ(time("2026-01-02T03:04:60Z"), "parsing time \"2026-01-02T03:04:60Z\": second out of range");
  EXPECT_EQ(time("2026-01-02T03:04:05z"), "parsing time \"2026-01-02T03:04:05z\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"z\" as \"Z07:00\"");
  EXPECT_EQ(time("2026-01-02T03:04:05+25:00"), "parsing time \"2026-01-02T03:04:05+25:00\": time zone offset hour out of range");
  EXPECT_EQ(time("2026-01-02T03:04:05Zx"), "parsing time \"2026-01-02T03:04:05Zx\": extra text: \"x\"");
}

TEST(Decode, WantsSixDigitsOfAMicroTime) {
  auto time = [](std::string_view text) {
    auto r = decode("Event", R"({"eventTime":")" + std::string(text) + R"("})");
    return r ? std::string(json::get_string(r->value, {"eventTime"})) : r.error().message();
  };
  EXPECT_EQ(time("2026-01-02T03:04:05.123456+02:00"), "2026-01-02T01:04:05.123456Z");
  EXPECT_EQ(time("2026-01-02T03:04:05Z"), "parsing time \"2026-01-02T03:04:05Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\"");
  EXPECT_EQ(time("2026-01-02T03:04:05.1234567Z"), "parsing time \"2026-01-02T03:04:05.1234567Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"7Z\" as \"Z07:00\"");
}

// What is empty is dropped, and yet is not what is absent.
TEST(Decode, RemembersWhatWasEmpty) {
  auto r = decode("Pod", R"({"metadata":{"labels":{}},"spec":{"containers":[{"name":"c"},{"name":"d","args":[]}]}})");
  ASSERT_TRUE(r);
  json::value object = r->value;
  restore_emptied(object, r->emptied);
  EXPECT_EQ(json::serialize(*json::at(&object, {"metadata", "labels"})), "{}");
  EXPECT_EQ(json::serialize(object.at("spec").at("containers").at(1)), R"({"name":"d","args":[]})");
  // Nothing is made up where there is no place for it any more.
  json::value other = json::object();
  restore_emptied(other, r->emptied);
  EXPECT_EQ(json::serialize(other), "{}");
}

TEST(Decode, LeavesOutWhatIsEmptyAsGoDoes) {
  auto r = decode("Pod", R"({"metadata":{"labels":{},"name":""},"spec":{"hostNetwork":false,"hostUsers":false,"nodeName":"","terminationGracePeriodSeconds":0,"securityContext":{},"containers":[{"name":"","args":[],"stdin":false,"env":[{"name":"A","value":""}]}],"volumes":[{"name":"v","emptyDir":{}}]}})");
  ASSERT_TRUE(r);
  EXPECT_EQ(json::serialize(r->value), R"({"metadata":{},"spec":{"hostUsers":false,"terminationGracePeriodSeconds":0,"securityContext":{},"containers":[{"name":"","env":[{"name":"A"}]}],"volumes":[{"name":"v","emptyDir":{}}]}})");
}

TEST(Decode, PrunesUnknownFieldsAndSaysSo) {
  auto r = decode("Pod", R"({"spec":{"foo":1,"containers":[{"name":"c","bar":2}]},"metadata":{"name":null,"creationTimestamp":null}})");
  ASSERT_TRUE(r);
  EXPECT_EQ(json::serialize(r->value), R"({"spec":{"containers":[{"name":"c"}]},"metadata":{}})");
  EXPECT_EQ(r->warnings, (std::vector<std::string>{"unknown field \"spec.foo\"", "unknown field \"spec.containers[0].bar\""}));
  EXPECT_EQ(decode("Pod", R"({"spec":{"foo":1}})", FieldValidation::strict).error().message(), "strict decoding error: unknown field \"spec.foo\"");
  EXPECT_TRUE(decode("Pod", R"({"spec":{"foo":1}})", FieldValidation::ignore)->warnings.empty());
}

TEST(Decode, NormalisesQuantitiesTimesAndWholeNumbers) {
  auto r = decode("Pod", R"({"metadata":{"creationTimestamp":"2026-01-01T01:00:00+01:00"},"spec":{"priority":2.0,"containers":[{"resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}]}})");
  ASSERT_TRUE(r);
  EXPECT_EQ(json::serialize(r->value),
            R"({"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"priority":2,"containers":[{"resources":{"limits":{"cpu":"500m","memory":"1Gi"}}}]}})");
}

TEST(Decode, FindsDuplicateMembers) {
  EXPECT_EQ(duplicate_fields(R"({"metadata":{"name":"a","name":"b"},"x":[{"y":1,"y":2}],"s":"{\"a\":1,\"a\":2}"})"),
            (std::vector<std::string>{"metadata.name", "x[0].y"}));
}

TEST(Decode, KnowsMediaTypes) {
  EXPECT_TRUE(parse_body("application/json; charset=utf-8", "{}"));
  EXPECT_TRUE(parse_body("application/yaml", "a: b"));
  EXPECT_EQ(parse_body("text/plain", "{}").error().code(), 415);
}

// Time is what the test is about: taken out one by one these take minutes.
TEST(Decode, TakesOutManyUnknownFieldsAtOnce) {
  std::string text = R"({"kind":"ConfigMap")";
  for (int i = 0; i < 200000; ++i) text += ",\"k" + std::to_string(i) + "\":0";
  text += R"(,"data":{"a":"b"}})";
  auto r = decode("ConfigMap", text);
  ASSERT_TRUE(r);
  EXPECT_EQ(json::serialize(r->value), R"({"kind":"ConfigMap","data":{"a":"b"}})");
  EXPECT_EQ(r->warnings.size(), 100U);
}

TEST(Decode, NamesAtMostAHundredDuplicates) {
  std::string text = "{\"a\":0,\"a\":0";
  for (int i = 0; i < 1000; ++i) text += ",\"k" + std::to_string(i) + "\":0,\"k" + std::to_string(i) + "\":0";
  EXPECT_EQ(duplicate_fields(text + "}").size(), 100U);
}

TEST(Decode, TellsOfUnknownAndRepeatedFieldsInTheOrderOfTheText) {
  const api::Type& type = *api::Schema::builtin().find_kind("", "v1", "ConfigMap");
  EXPECT_EQ(strict_problems(R"({"metadata":{"name":"a","x":1},"data":{"k":"1","k":"2"},"more":{"b":1,"b":2},"metadata":{"name":"b"}})", type),
            (std::vector<std::string>{"unknown field \"metadata.x\"", "duplicate field \"data.k\"", "unknown field \"more\"", "duplicate field \"metadata\""}));
}

// Within reach of a body: names of a kilobyte, each inside the one before.
TEST(Decode, LooksForFieldsInDeepTextsWithLittleMemory) {
  std::string text, name(1000, 'n');
  for (int i = 0; i < 3000; ++i) text += "{\"" + name + "\":";
  text += R"({"a":1,"a":2})" + std::string(3000, '}');
  EXPECT_TRUE(duplicate_fields(text).empty());   // no path of that length is of use to anybody
  EXPECT_EQ(duplicate_fields(R"({"x":)" + std::string(600, '[') + std::string(600, ']') + R"(,"a":1,"a":2})"), std::vector<std::string>{"a"});
}

}  // namespace
}  // namespace kcube::machinery
