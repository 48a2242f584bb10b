#include "pkg/apiserver/machinery/table.h"

#include <gtest/gtest.h>

namespace kcube::machinery {
namespace {

using namespace std::chrono_literals;

TEST(Table, HumanDurations) {
  EXPECT_EQ(human_duration(0s), "0s");
  EXPECT_EQ(human_duration(119s), "119s");
  EXPECT_EQ(human_duration(125s), "2m5s");
  EXPECT_EQ(human_duration(15min), "15m");
  EXPECT_EQ(human_duration(3h + 5min), "3h5m");
  EXPECT_EQ(human_duration(47h), "47h");
  EXPECT_EQ(human_duration(50h), "2d2h");
  EXPECT_EQ(human_duration(24h * 100), "100d");
}

TEST(Table, PrintsAPod) {
  auto pod = api::Object::from_text(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d","creationTimestamp":"2026-01-01T00:00:00Z"},
    "spec":{"nodeName":"n1","containers":[{"name":"a"},{"name":"b"}]},
    "status":{"phase":"Running","podIP":"10.0.0.1","containerStatuses":[{"name":"a","ready":true,"restartCount":2,"state":{"running":{}},
      "lastState":{"terminated":{"finishedAt":"2026-01-01T00:00:00Z"}}},{"name":"b","ready":false,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}})");
  ASSERT_TRUE(pod);
  SystemTime now;
  ASSERT_TRUE(parse_time("2026-01-01T00:01:00Z", now));
  auto table_text = table(*api::Schema::builtin().find_resource("", "v1", "pods"), {*pod}, {{"resourceVersion", "5"}}, IncludeObject::metadata, true, now);
  auto value = json::parse(table_text);
  ASSERT_TRUE(value);
  EXPECT_EQ(json::serialize(value->at("rows").at(0).at("cells")),
            R"x(["p","1/2","CrashLoopBackOff","2 (60s ago)","60s","10.0.0.1","n1","<none>","<none>"])x");
  EXPECT_EQ(json::get_string(value->at("rows").at(0), {"object", "kind"}), "PartialObjectMetadata");
  EXPECT_EQ(value->at("columnDefinitions").as_array().size(), 9u);
}

}  // namespace
}  // namespace kcube::machinery
