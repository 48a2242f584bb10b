#include "tests/unit/cel/case_runner.h"

namespace kcube::cel {
namespace {

std::string message_of(std::string_view source, const Environment& environment = {}) {
  auto program = compile(source, environment);
  return program ? "compiled" : program.error().message();
}

TEST(CelErrors, PointAtTheSource) {
  EXPECT_EQ(message_of("1 + foo"), "ERROR: <input>:1:5: undeclared reference to 'foo' (in container '')\n | 1 + foo\n | ....^");
  EXPECT_EQ(message_of("foo(1)"), "ERROR: <input>:1:4: undeclared reference to 'foo' (in container '')\n | foo(1)\n | ...^");
  EXPECT_EQ(message_of("1 + 'a'"), "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^");
  EXPECT_EQ(message_of("'a'.size(1)"), "ERROR: <input>:1:9: found no matching overload for 'size' applied to 'string.(int)'\n | 'a'.size(1)\n | ........^");
  EXPECT_EQ(message_of("'ä' == x"), "ERROR: <input>:1:8: undeclared reference to 'x' (in container '')\n | 'ä' == x\n | .......^");
  EXPECT_EQ(message_of("true &&\n  y"), "ERROR: <input>:2:3: undeclared reference to 'y' (in container '')\n |   y\n | ..^");
  EXPECT_EQ(message_of("a + b"), "ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n | a + b\n | ^\n"
                                 "ERROR: <input>:1:5: undeclared reference to 'b' (in container '')\n | a + b\n | ....^");
}

TEST(CelErrors, NameTypes) {
  Environment environment;
  auto spec = Type::object("Spec", make_fields({{"replicas", Type::integer()}, {"names", Type::list(Type::string())}, {"x-y", Type::string()}}));
  environment.declare("self", Type::object("Self", make_fields({{"spec", spec}, {"labels", Type::map(Type::string(), Type::string())}})));
  struct Row {
    std::string_view source, message;
  };
  constexpr Row rows[]{
      {"self.spek", "undefined field 'spek'"},
      {"self.spec.replicas == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"},
      {"self.spec.replicas.foo", "type 'int' does not support field selection"},
      {"has(self.spec.none)", "undefined field 'none'"},
      {"self.spec.names.all(n, n > 1)", "found no matching overload for '_>_' applied to '(string, int)'"},
      {"self.labels.all(k, k)", "expected type 'bool' but found 'string'"},
      {"self.spec.names + [1]", "found no matching overload for '_+_' applied to '(list(string), list(int))'"},
      {"[1, 'a']", "expected type 'int' but found 'string'"},
      {"{'a': 1, 'b': 'c'}", "expected type 'int' but found 'string'"},
      {"1 && true", "expected type 'bool' but found 'int'"},
      {"self.spec.replicas ? 1 : 2", "found no matching overload for '_?_:_' applied to '(int, int, int)'"},
      {"true ? 1 : 'a'", "found no matching overload for '_?_:_' applied to '(bool, int, string)'"},
      {"'a' in self.spec", "found no matching overload for '@in' applied to '(string, Spec)'"},
      {"self.spec{}", "undeclared reference to 'self.spec' (in container '')"},
      {"int{}", "'int' is not a message type"},
      {"if", "reserved identifier: if"},
      {"1 +", "Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"},
      {"$", "Syntax error: token recognition error at: '$'"},
      {"99999999999999999999", "invalid int literal"},
  };
  for (const Row& row : rows) {
    std::string message = message_of(row.source, environment);
    EXPECT_NE(message.find(std::string(": ") + std::string(row.message) + "\n"), std::string::npos) << row.source << "\n" << message;
  }
  EXPECT_EQ(message_of("self.spec.x__dash__y == 'a' && self.spec.replicas > 1 && 'a' in self.labels && self.labels.b == 'c'", environment), "compiled");
}

TEST(CelErrors, InferTypes) {
  Environment environment;
  environment.declare("names", Type::list(Type::string())).declare("any", Type::dyn());
  struct Row {
    std::string_view source, type;
  };
  constexpr Row rows[]{
      {"names.map(n, n.size())", "list(int)"}, {"names.filter(n, true)", "list(string)"}, {"[]", "list(dyn)"}, {"{}", "map(dyn, dyn)"}, {"[[]]", "list(list(dyn))"}, {"[] + [1]", "list(int)"},
      {"any", "dyn"}, {"any.x", "dyn"}, {"any + 1", "int"}, {"any + any", "dyn"}, {"[any, any]", "list(dyn)"}, {"names[0]", "string"}, {"{'a': 1}.a", "int"}, {"any == 1", "bool"}, {"optional.of('a')", "optional_type(string)"},
      {"any.?x", "optional_type(dyn)"}, {"names[?0]", "optional_type(string)"}, {"names[?0].orValue('')", "string"}, {"true ? any : 1", "dyn"}, {"null", "null"}, {"type(1)", "type(int)"}, {"names.transformMap(i, n, n)", "map(int, string)"},
      {"any.map(x, x)", "list(dyn)"}, {"names.exists(n, n == '')", "bool"}, {"quantity('1')", "kubernetes.Quantity"}, {"{'a': [1]}.a[0] + 1", "int"}, {"names.sortBy(n, n.size())", "list(string)"},
  };
  for (const Row& row : rows) {
    auto program = compile(row.source, environment);
    ASSERT_TRUE(program) << program.error().message();
    EXPECT_EQ((*program)->type()->to_string(), row.type) << row.source;
  }
}

TEST(CelErrors, AnUnsetVariableIsNoAttribute) {
  Environment environment;
  environment.declare("object", Type::dyn());
  auto program = compile("object.x", environment);
  ASSERT_TRUE(program);
  EXPECT_TRUE((*program)->uses("object"));
  EXPECT_FALSE((*program)->uses("params"));
  auto result = (*program)->evaluate({});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "no such attribute(s): object");
}

}  // namespace
}  // namespace kcube::cel
