#include "pkg/apiserver/machinery/validation.h"

#include <gtest/gtest.h>

namespace kcube::machinery {
namespace {

std::string problems(std::string_view resource, std::string_view text, std::string_view old = {}) {
  auto value = json::parse(text);
  Result<json::value> before = old.empty() ? Result<json::value>(json::value()) : json::parse(old);
  std::string out;
  for (const Cause& c : validate_metadata(*api::Schema::builtin().find_resource("", "v1", resource), *value, old.empty() ? nullptr : &*before))
    out += c.field + ": " + c.reason + "\n";
  return out;
}

TEST(ValidateMetadata, ChecksNamesLabelsAndOwners) {
  EXPECT_EQ(problems("pods", R"({"metadata":{"name":"a","namespace":"n"}})"), "");
  EXPECT_EQ(problems("pods", R"({"metadata":{"namespace":"n"}})"), "metadata.name: FieldValueRequired\n");
  EXPECT_EQ(problems("pods", R"({"metadata":{"name":"A","namespace":"n"}})"), "metadata.name: FieldValueInvalid\n");
  EXPECT_EQ(problems("services", R"({"metadata":{"name":"a.b","namespace":"n"}})"), "metadata.name: FieldValueInvalid\n");
  EXPECT_EQ(problems("pods", R"({"metadata":{"generateName":"a-","namespace":"n","labels":{"a b":"c"}}})"), "metadata.labels: FieldValueInvalid\n");
  EXPECT_EQ(problems("pods", R"({"metadata":{"name":"a","namespace":"n","ownerReferences":[{"apiVersion":"v1","kind":"X","name":"y"}]}})"),
            "metadata.ownerReferences.uid: FieldValueInvalid\n");
}

TEST(ValidateMetadata, KeepsWhatIsImmutable) {
  EXPECT_EQ(problems("pods", R"({"metadata":{"name":"a","namespace":"n","uid":"2"}})", R"({"metadata":{"name":"a","namespace":"n","uid":"1"}})"),
            "metadata.uid: FieldValueInvalid\n");
}

}  // namespace
}  // namespace kcube::machinery
