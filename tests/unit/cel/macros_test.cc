#include "tests/unit/cel/case_runner.h"

namespace kcube::cel {
namespace {

TEST(CelMacros, QuantifyAndTransform) {
  constexpr Case cases[]{
      {"[1, 2, 3].all(x, x > 0)", "true"}, {"[1, 2, 3].all(x, x > 1)", "false"}, {"[].all(x, x > 1)", "true"}, {"[1, 2].exists(x, x == 2)", "true"}, {"[1, 2].exists(x, x == 3)", "false"},
      {"[].exists(x, true)", "false"}, {"[1, 2, 2].exists_one(x, x == 1)", "true"}, {"[1, 2, 2].exists_one(x, x == 2)", "false"}, {"[1, 2].exists_one(x, x == 1)", "true"},
      {"[1, 2, 3].map(x, x * 2)", "[2,4,6]"}, {"[1, 2, 3].map(x, x > 1, x * 2)", "[4,6]"}, {"[1, 2, 3].filter(x, x != 2)", "[1,3]"}, {"[].map(x, x)", "[]"},
      {"{'a': 1, 'b': 2}.all(k, k != 'c')", "true"}, {"{'a': 1, 'b': 2}.map(k, k + 'x')", R"(["ax","bx"])"}, {"{'a': 1}.exists(k, k == 'a')", "true"},
      {"[0, 1].all(x, 1 / x > 0)", "error: division by zero"}, {"[0, 1].exists(x, 1 / x == 1)", "true"}, {"[1, 0].all(x, 2 / x > 3)", "false"},
      {"[[1, 2], [3]].map(l, l.map(x, x + 1))", "[[2,3],[4]]"}, {"[1, 2].map(x, [x, x])", "[[1,1],[2,2]]"}, {"[1, 2].map(x, [1, 2].map(y, x * y))", "[[1,2],[2,4]]"},
      {"[1, 2].filter(x, [1].exists(y, y == x))", "[1]"}, {"[1, 2, 3].filter(x, x > 1).map(x, x)", "[2,3]"}, {"[3].map(x, x).map(y, y)", "[3]"},
      {"[1, 0].map(x, 1 / x)", "error: division by zero"}, {"['a', 'b'].map(x, x).join()", "ab"},
      {"1.all(x, x)", "compile: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)"}, {"[1].all(1, true)", "compile: argument must be a simple name"},
      {"has(1)", "compile: invalid argument to has() macro"}, {"dyn(1).all(x, true)", "error: got 'types.Int', expected iterable type"},
  };
  run_cases(cases);
}

TEST(CelMacros, TakeTwoVariables) {
  constexpr Case cases[]{
      {"[5, 6].all(i, v, v == i + 5)", "true"}, {"{'a': 1}.all(k, v, k == 'a' && v == 1)", "true"}, {"[5].exists(i, v, i == 0 && v == 5)", "true"}, {"[5, 5].existsOne(i, v, v == 5)", "false"},
      {"[5, 6].transformList(i, v, i + v)", "[5,7]"}, {"[5, 6].transformList(i, v, i > 0, v)", "[6]"}, {"{'a': 1, 'b': 2}.transformMap(k, v, v * 2)", R"({"a":2,"b":4})"},
      {"{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v)", R"({"b":2})"}, {"{'a': 'x'}.transformMapEntry(k, v, {v: k})", R"({"x":"a"})"},
      {"['a', 'a'].transformMapEntry(i, v, {v: i})", "error: insert failed: key a already exists"}, {"[1, 2, 3].transformMap(i, v, v).size()", "3"},
      {"[1].all(i, i, true)", "compile: duplicate variable name: i"},
  };
  run_cases(cases);
}

TEST(CelMacros, NestDeeply) {
  // Each optMap names its target twice; the tree must not grow with the square of that.
  std::string expression = "optional.of(1)";
  for (int i = 0; i < 14; ++i) expression += ".optMap(x, x)";
  EXPECT_EQ(run_case(expression), "optional(1)");
  for (int i = 0; i < 30; ++i) expression += ".optMap(x, x)";
  EXPECT_EQ(run_case(expression), "error: operation cancelled: actual cost limit exceeded");   // each costs twice the one before
  std::string chain = "1";
  for (int i = 0; i < 200; ++i) chain += " + 1";
  EXPECT_EQ(run_case(chain), "201");
  std::string deep(300, '(');
  deep += "1" + std::string(300, ')');
  EXPECT_EQ(run_case(deep), "compile: expression recursion limit exceeded: 250");
  std::string mixed;
  for (int i = 0; i < 240; ++i) mixed += '(';
  mixed += '1';
  for (int i = 0; i < 240; ++i) mixed += std::string("+1+1+1+1+1+1") + ")";
  EXPECT_EQ(run_case(mixed), "compile: expression recursion limit exceeded: 250");
}

}  // namespace
}  // namespace kcube::cel
