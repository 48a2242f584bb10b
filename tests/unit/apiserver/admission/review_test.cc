// What is made of a webhook's answer.
#include "pkg/apiserver/admission/admission_review.h"

#include <gtest/gtest.h>

namespace kcube::apiserver {
namespace {

Result<ReviewAnswer> answer(std::string_view response, bool mutating = true) {
  auto review = json::parse("{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":" + std::string(response) + "}");
  KCUBE_CHECK(review.has_value());
  return read_review(*review, "u", mutating);
}

std::string problem(std::string_view response, bool mutating = true) {
  auto read = answer(response, mutating);
  return read ? "" : read.error().message();
}

TEST(AdmissionReview, RefusesWrongAnswers) {
  EXPECT_EQ(read_review(json::object(), "u", true).error().message(), "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=");
  EXPECT_EQ(problem("null"), "webhook response was absent");
  EXPECT_EQ(problem(R"({"uid":"other"})"), "expected response.uid=\"u\", got \"other\"");
  EXPECT_EQ(problem(R"({"uid":"u","patch":"W10="})"), "webhook returned response.patch but not response.patchType");
  EXPECT_EQ(problem(R"({"uid":"u","patchType":"JSONPatch"})"), "webhook returned response.patchType but not response.patch");
  EXPECT_EQ(problem(R"({"uid":"u","patch":"W10=","patchType":"Merge"})"), "webhook returned invalid response.patchType of \"Merge\"");
  EXPECT_EQ(problem(R"({"uid":"u","patch":"W10=","patchType":"JSONPatch"})", false), "validating webhook may not return response.patch");
}

TEST(AdmissionReview, ReadsPatchesWarningsAndNotes) {
  auto read = answer(R"({"uid":"u","allowed":true,"patch":"W10=","patchType":"JSONPatch","warnings":["w"],"auditAnnotations":{"a":"b"}})");
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->allowed);
  EXPECT_EQ(read->patch, json::value(json::array()));
  EXPECT_EQ(read->warnings, std::vector<std::string>{"w"});
  EXPECT_EQ(read->audit_annotations.at("a"), "b");
}

TEST(AdmissionReview, ADenialIsNeverASuccess) {
  EXPECT_EQ(answer(R"({"uid":"u","allowed":false,"status":{"code":200,"message":"no"}})")->denial.code(), 400);
  EXPECT_EQ(answer(R"({"uid":"u","allowed":false})")->denial.code(), 400);
  EXPECT_EQ(answer(R"({"uid":"u","allowed":false,"status":{"code":418,"reason":"Teapot"}})")->denial.reason(), "Teapot");
}

}  // namespace
}  // namespace kcube::apiserver
