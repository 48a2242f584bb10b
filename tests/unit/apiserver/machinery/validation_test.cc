#include "pkg/apiserver/machinery/validation.h"

#include <gtest/gtest.h>

namespace kcube::machinery {
namespace {

std::string problems(std::string_view resource, std::string_view text, std::string_view old = {}) {
  auto value = json::parse(text);
  Result<json::value> before = old.empty() ? Result<json::value>(json::value()) : json::parse(old);
  std::string out;
  for (const Cause& c : validate_metadata(*api::Schema::builtin().find_resource("", "v1", resource), *value,
                                          old.empty() ? nullptr : &*before))
    out += c.field + ": " + c.reason + "\n";
  return out;
}

TEST(ValidateMetadata, ChecksNamesLabelsAndOwners) {
  EXPECT_EQ(problems("pods", R"({"metadata":{"name":"a","namespace":"n"}})"), "");
  EXPECT_EQ(problems("pods", R"({"metadata":{"namespace":"n"}})"), "metadata.name: FieldValueRequired\n");
  EXPECT_EQ(problems("pods", R"({"metadata":{"name":"A","namespace":"n"}})"), "metadata.name: FieldValueInvalid\n");
  EXPECT_EQ(problems("services", R"({"metadata":{"name":"a.b","namespace":"n"}})"),
            "metadata.name: FieldValueInvalid\n");
  EXPECT_EQ(problems("pods", R"({"metadata":{"generateName":"a-","namespace":"n","labels":{"a b":"c"}}})"),
            "metadata.labels: FieldValueInvalid\n");
  EXPECT_EQ(
      problems(
          "pods",
          R"({"metadata":{"name":"a","namespace":"n","ownerReferences":[{"apiVersion":"v1","kind":"X","name":"y"}]}})"),
      "metadata.ownerReferences.uid: FieldValueInvalid\n");
}

TEST(ValidateMetadata, KeepsWhatIsImmutable) {
  EXPECT_EQ(problems("pods", R"({"metadata":{"name":"a","namespace":"n","uid":"2"}})",
                     R"({"metadata":{"name":"a","namespace":"n","uid":"1"}})"),
            "metadata.uid: FieldValueInvalid\n");
}

// The server merges a binding into its pod before it validates: the pod must pass as it is, whatever else has changed.
TEST(Validate, LetsABoundPodPass) {
  const auto* binding = api::Schema::builtin().find_resource("", "v1", "pods", "binding");
  auto pod =
      json::parse(R"({"metadata":{"name":"a","namespace":"n"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  json::value bound = *pod;
  json::ensure_path(bound, {"spec"})["nodeName"] = "node";
  EXPECT_TRUE(validate(*binding, bound, &*pod).empty());
}

// A type that needs less lets go of what the former one had.
TEST(Validate, LeavesAServiceWhatItsFormerTypeHad) {
  const auto* services = api::Schema::builtin().find_resource("", "v1", "services");
  auto old = json::parse(
      R"({"metadata":{"name":"a","namespace":"n"},"spec":{"type":"LoadBalancer","sessionAffinity":"None","clusterIP":"10.0.0.1",
    "clusterIPs":["10.0.0.1"],"internalTrafficPolicy":"Cluster","externalTrafficPolicy":"Cluster","allocateLoadBalancerNodePorts":true,
    "ports":[{"port":80,"targetPort":80,"protocol":"TCP","nodePort":30000}]}})");
  json::value now = *old;
  json::ensure_path(now, {"spec"})["type"] = "ClusterIP";
  EXPECT_TRUE(validate(*services, now, &*old).empty());
}

std::string event_problems(std::string_view group, std::string_view text, std::string_view old = {}) {
  const auto& schema = api::Schema::builtin();
  auto event = json::parse(text), before = json::parse(old.empty() ? "{}" : old);
  std::string out;
  for (const Cause& c : validate(*schema.find_resource("", "v1", "events"), *event, old.empty() ? nullptr : &*before, *schema.find_resource(group, "v1", "events")))
    out += c.field + ": " + c.message.substr(0, c.message.find(" (e.g.")) + "\n";
  return out;
}

// Stored as an event of v1 either way; the rules are those of the API that was spoken.
TEST(Validate, HoldsEventsToTheApiTheyCameBy) {
  const char* old_sort = R"({"metadata":{"name":"e","namespace":"n"},"involvedObject":{"namespace":"n"},"count":2,"source":{"component":"c"},"type":"x"})";
  EXPECT_EQ(event_problems("", old_sort), "");
  EXPECT_EQ(event_problems("events.k8s.io", old_sort),
            "eventTime: Required value\n"
            "type: Invalid value: \"\": has invalid value: x\n"
            "count: Invalid value: \"\": needs to be unset\n"
            "source: Invalid value: \"\": needs to be unset\n");
  const std::string now = R"({"metadata":{"name":"e","namespace":"n"},"involvedObject":{"namespace":"n"},"eventTime":"2026-01-02T03:04:05.000000Z",
    "reportingComponent":"a.b/c","reportingInstance":"i","action":"A","type":"Normal","series":{"count":1},"reason":)";
  EXPECT_EQ(event_problems("", now + "\"S\"}", now + "\"R\"}"), "");
  EXPECT_EQ(event_problems("events.k8s.io", now + "\"S\"}", now + "\"R\"}"),
            "reason: Invalid value: \"S\": field is immutable\nreason: Invalid value: \"S\": field is immutable\n");
  EXPECT_EQ(event_problems("events.k8s.io", now + "\"S\"}"),
            "series.count: Invalid value: \"\": should be at least 2\nseries.lastObservedTime: Required value\n");
}

}  // namespace
}  // namespace kcube::machinery
