// Objects survive the way into protobuf and back, whatever fields they have.
#include "pkg/apiserver/machinery/protobuf.h"

#include <gtest/gtest.h>

#include <limits>

namespace kcube::machinery {
namespace {

json::value round_trip(const std::string& text) {
  json::value object = json::parse(text).value();
  std::string_view version = json::get_string(object, {"apiVersion"});
  size_t slash = version.find('/');
  const api::Type* type = api::Schema::builtin().find_kind(slash == std::string_view::npos ? "" : version.substr(0, slash),
                                                           slash == std::string_view::npos ? version : version.substr(slash + 1),
                                                           json::get_string(object, {"kind"}));
  EXPECT_NE(type, nullptr) << text;
  auto back = decode_protobuf(api::Schema::builtin(), encode_protobuf(*type, object));
  EXPECT_TRUE(back) << text;
  return back ? *back : json::value();
}

class RoundTrip : public testing::TestWithParam<const char*> {};

TEST_P(RoundTrip, KeepsEveryField) { EXPECT_EQ(round_trip(GetParam()), json::parse(GetParam()).value()); }

INSTANTIATE_TEST_SUITE_P(
    Objects, RoundTrip,
    testing::Values(
        R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c","labels":{"b":"2","a":"1"},"creationTimestamp":"2026-01-02T03:04:05Z"},"data":{"k":"v","empty":""},"binaryData":{"b":"AAEC/w=="},"immutable":false})",
        R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u","controller":true}]},"spec":{"containers":[{"name":"c","image":"i","args":["a","","b"],"ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"100m","memory":"1Gi"}},"livenessProbe":{"httpGet":{"port":"web","path":"/"},"periodSeconds":3},"readinessProbe":{"tcpSocket":{"port":80}},"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"k","optional":false}}}]}],"volumes":[{"name":"e","emptyDir":{}},{"name":"h","hostPath":{"path":"/x","type":""}}],"terminationGracePeriodSeconds":0,"tolerations":[{"key":"k","operator":"Exists","tolerationSeconds":-5}]},"status":{"phase":"Running","startTime":"1969-12-31T23:59:59Z"}})",
        R"({"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"l"},"spec":{"renewTime":"2026-01-02T03:04:05.000006Z","leaseDurationSeconds":40}})",
        R"({"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","metadata":{"name":"c"},"spec":{"group":"g","scope":"Namespaced","names":{"plural":"p","kind":"K"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"a":{"type":"number","maximum":1.5,"default":{"x":[1,null,"s"]}},"b":{"items":{"type":"string"}},"c":{"additionalProperties":true},"d":{"additionalProperties":{"type":"string"}}},"required":["a"]}}}]}})",
        R"({"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":{},"spec":{"user":"u","extra":{"scopes":["a","b"]}},"status":{"allowed":false}})"));

// A Pod whose creationTimestamp (8 in metadata) is a Timestamp {seconds = 1, nanos = 2} of these bytes.
std::string created_at(const std::string& timestamp) {
  using namespace std::string_literals;
  auto field = [](char tag, const std::string& bytes) { return tag + std::string(1, static_cast<char>(bytes.size())) + bytes; };
  return "k8s\0"s + field('\x0a', field('\x0a', "v1") + field('\x12', "Pod")) + field('\x12', field('\x0a', field('\x42', timestamp)));
}

TEST(ProtobufTimes, AreCutToSeconds) {
  // Go's zero time, then with half a second more: in a Time both are none at all.
  const std::string zero = "\x08\x80\x92\xb8\xc3\x98\xfe\xff\xff\xff\x01";
  for (const std::string& timestamp : {zero, zero + "\x10\x80\xca\xb5\xee\x01"}) {
    auto pod = decode_protobuf(api::Schema::builtin(), created_at(timestamp));
    ASSERT_TRUE(pod);
    EXPECT_EQ(json::serialize(pod->at("metadata")), R"({"creationTimestamp":null})");
  }
  auto last = decode_protobuf(api::Schema::builtin(), created_at("\x08\xff\x82\xd1\xff\xaf\x07"));
  ASSERT_TRUE(last);
  EXPECT_EQ(json::serialize(last->at("metadata")), R"({"creationTimestamp":"9999-12-31T23:59:59Z"})");
}

TEST(ProtobufTimes, AreRefusedWhereTextCannotSayThem) {
  for (const char* timestamp : {"\x08\x80\x83\xd1\xff\xaf\x07", "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x40"}) {
    auto pod = decode_protobuf(api::Schema::builtin(), created_at(timestamp));
    ASSERT_FALSE(pod);
    EXPECT_EQ(pod.error().code(), 400);
  }
}

TEST(ProtobufNumbers, AreRefusedWhereJsonHasNone) {
  const api::Type& type = *api::Schema::builtin().find_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
  auto definition = [](double maximum) {
    json::value schema{{"maximum", maximum}};
    return json::value{{"kind", "CustomResourceDefinition"}, {"apiVersion", "apiextensions.k8s.io/v1"}, {"spec", {{"versions", json::array{{{"schema", {{"openAPIV3Schema", schema}}}}}}}}};
  };
  EXPECT_TRUE(decode_protobuf(api::Schema::builtin(), encode_protobuf(type, definition(1.5))));
  for (double none : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()})
    EXPECT_FALSE(decode_protobuf(api::Schema::builtin(), encode_protobuf(type, definition(none))));
}

TEST(ProtobufStrings, AreMadeUtf8) {
  const api::Type& type = *api::Schema::builtin().find_kind("", "v1", "ConfigMap");
  const json::value sent{{"kind", "ConfigMap"}, {"apiVersion", "v1"}, {"data", {{"a", "x\xff"}, {"\xc3", "b"}}}};
  auto back = decode_protobuf(api::Schema::builtin(), encode_protobuf(type, sent));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->at("data"), (json::value{{"a", "x\ufffd"}, {"\ufffd", "b"}}));
}

TEST(ProtobufList, HasItsItems) {
  const api::Type& type = *api::Schema::builtin().find_kind("", "v1", "ConfigMap");
  ProtobufList list({{"resourceVersion", "7"}});
  list.add(type, json::parse(R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}})").value());
  list.add(type, json::parse(R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"b"}})").value());
  auto back = decode_protobuf(api::Schema::builtin(), list.finish("v1", "ConfigMapList"));
  ASSERT_TRUE(back);
  EXPECT_EQ(json::serialize(*back), R"({"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]})");
}

TEST(ProtobufWatchEvent, IsALengthAndAMessage) {
  std::string frame = protobuf_watch_event("ADDED", "object");
  EXPECT_EQ(frame, std::string("\0\0\0\x11\x0a\x05"
                               "ADDED\x12\x08\x0a\x06object",
                               21));
}

}  // namespace
}  // namespace kcube::machinery
