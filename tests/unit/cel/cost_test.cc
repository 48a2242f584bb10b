#include "tests/unit/cel/case_runner.h"

namespace kcube::cel {
namespace {

uint64_t cost_of(std::string_view expression, std::string_view variables = "{}") {
  auto document = json::parse(variables);
  Environment environment;
  Activation activation;
  for (const auto& member : document->get_object()) {
    environment.declare(std::string(member.key()), Type::dyn());
    activation.set(json::view(member.key()), Value::json(member.value()));
  }
  auto program = compile(expression, environment);
  EXPECT_TRUE(program) << expression;
  Usage usage;
  if (program) (void)(*program)->evaluate(activation, {}, &usage);
  return usage.cost;
}

TEST(CelCost, CountsWhatKubernetesCounts) {
  EXPECT_EQ(cost_of("1"), 0u);
  EXPECT_EQ(cost_of("1 + 1"), 1u);
  EXPECT_EQ(cost_of("x", R"({"x": 1})"), 1u);
  EXPECT_EQ(cost_of("x.a.b", R"({"x": {"a": {"b": 1}}})"), 3u);
  EXPECT_EQ(cost_of("has(x.a.b)", R"({"x": {"a": {"b": 1}}})"), 2u);
  EXPECT_EQ(cost_of("[1, 2]"), 0u);
  EXPECT_EQ(cost_of("[x]", R"({"x": 1})"), 11u);
  EXPECT_EQ(cost_of("{'a': x}", R"({"x": 1})"), 31u);
  EXPECT_EQ(cost_of("x in ['a', 'b']", R"({"x": "a"})"), 1u);
  EXPECT_EQ(cost_of("x == 'abcdefghijklmnopqrstuvwxyz'", R"({"x": "abcdefghijklmnopqrstuvwxyz"})"), 4u);
  EXPECT_EQ(cost_of("x.startsWith('a')", R"({"x": "abcdefghijklmnopqrstuvwxyz"})"), 4u);
  EXPECT_EQ(cost_of("x.all(y, true)", R"({"x": [1, 2, 3]})"), 11u);          // x, result; accumulator and its test, twice
  EXPECT_EQ(cost_of("true ? x : x.y.z", R"({"x": 1})"), 1u);
}

TEST(CelCost, StopsWhatIsTooExpensive) {
  std::string numbers = "[0";
  for (int i = 1; i < 200; ++i) numbers += "," + std::to_string(i);
  numbers += "]";
  EXPECT_EQ(run_case("x.all(a, x.all(b, x.all(c, a + b + c >= 0)))", R"({"x": )" + numbers + "}"), "error: operation cancelled: actual cost limit exceeded");
  Environment environment;
  environment.declare("x", Type::dyn());
  auto program = compile("x.all(a, true)", environment);
  ASSERT_TRUE(program);
  auto document = json::parse(numbers);
  Activation activation;
  activation.set("x", Value::json(*document));
  uint64_t budget = 1000;
  EXPECT_TRUE((*program)->evaluate(activation, {.budget = &budget}));
  EXPECT_EQ(budget, 398u);
  auto spent = (*program)->evaluate(activation, {.budget = &budget});
  ASSERT_FALSE(spent);
  EXPECT_TRUE(is_budget(spent.error()));
  EXPECT_EQ(budget, 0u);
  auto over = (*program)->evaluate(activation, {.cost = 10});
  ASSERT_FALSE(over);
  EXPECT_TRUE(is_cost_limit(over.error()));
  std::atomic<bool> cancelled{true};
  auto interrupted = (*program)->evaluate(activation, {.cancelled = &cancelled});
  ASSERT_FALSE(interrupted);
  EXPECT_EQ(interrupted.error().message(), "operation interrupted");
}

CostEstimate estimate(std::string_view expression, TypeRef self) {
  Environment environment;
  environment.declare("self", std::move(self));
  auto program = compile(expression, environment);
  EXPECT_TRUE(program) << expression << program.error().message();
  return program ? (*program)->estimate() : CostEstimate{};
}

TEST(CelCost, EstimatesTheWorstCaseFromBounds) {
  TypeRef text = Type::limited(Type::string(), 100);
  TypeRef self = Type::object("Self", make_fields({{"name", text}, {"free", Type::string()}, {"list", Type::list(text, 10)}, {"map", Type::map(Type::string(), text, 5)}, {"n", Type::integer()}}));
  EXPECT_EQ(estimate("true", self).max, 0u);
  EXPECT_EQ(estimate("self.n == 5", self).max, 2u);
  EXPECT_EQ(estimate("self.name == self.name", self).max, 2u + 2u + 10u);
  EXPECT_EQ(estimate("self.name == 'abc'", self).max, 2u + 1u);
  EXPECT_GT(estimate("self.free == self.free", self).max, kEstimateLimit);
  EXPECT_EQ(estimate("self.list.all(x, x == 'abc')", self).max, 2u + 10u * (1u + 1u + 1u + 1u + 1u) + 1u);
  EXPECT_EQ(estimate("self.name.matches('^abcd$')", self).max, 2u + 11u * 2u);
  EXPECT_EQ(estimate("self.list.size() < 5", self).max, 2u + 1u + 1u);
  EXPECT_EQ(estimate("has(self.name)", self).max, 1u);
  EXPECT_GT(estimate("self.list.all(x, self.list.all(y, x == y))", self).max, 1000u);
}

}  // namespace
}  // namespace kcube::cel
