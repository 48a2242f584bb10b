#include "tests/unit/cel/case_runner.h"

namespace kcube::cel {
namespace {

// Evaluates over a document that is read with a declared type, as rules of CRDs are.
std::string run_typed(std::string_view expression, const TypeRef& type, std::string_view self, std::string_view old_self = "null") {
  auto document = json::parse(self), old_document = json::parse(old_self);
  Environment environment;
  environment.declare("self", type).declare("oldSelf", type);
  auto program = compile(expression, environment);
  if (!program) return program.error().message();
  Activation activation;
  activation.set("self", Value::json(*document, type.get())).set("oldSelf", Value::json(*old_document, type.get()));
  auto result = (*program)->evaluate(activation);
  if (!result) return "error: " + result.error().message();
  return result->is(Kind::boolean) ? (result->as_boolean() ? "true" : "false") : json::serialize(to_json(*result).value_or(json::value("?")));
}

TEST(CelSchema, ReadsFormats) {
  TypeRef type = Type::object("T", make_fields({{"when", Type::of_format("date-time")}, {"day", Type::of_format("date")}, {"wait", Type::of_format("duration")},
                                                {"data", Type::of_format("byte")}, {"ratio", Type::number()}, {"count", Type::integer()}, {"port", Type::dyn()}}));
  std::string_view self = R"({"when": "2024-01-02T03:04:05Z", "day": "2024-01-02", "wait": "90s", "data": "aGk=", "ratio": 1, "count": 3, "port": "http"})";
  EXPECT_EQ(run_typed("self.when.getHours() == 3 && self.day.getMonth() == 0 && self.wait == duration('1m30s')", type, self), "true");
  EXPECT_EQ(run_typed("self.data == b'hi' && self.ratio == 1.0 && self.ratio / 2.0 == 0.5", type, self), "true");
  EXPECT_EQ(run_typed("type(self.port) == int ? self.port > 80 : self.port == 'http'", type, self), "true");
  EXPECT_EQ(run_typed("self.when.getHours() == 3", type, R"({"when": "never"})"), "error: Invalid date-time formatted string never");
}

TEST(CelSchema, UnescapesNames) {
  TypeRef type = Type::object("T", make_fields({{"namespace", Type::string()}, {"x-y", Type::string()}, {"a.b", Type::string()}, {"c/d", Type::string()}, {"e__f", Type::string()}, {"1bad", Type::string()}}));
  std::string_view self = R"({"namespace": "n", "x-y": "d", "a.b": "o", "c/d": "s", "e__f": "u"})";
  EXPECT_EQ(run_typed("self.__namespace__ + self.x__dash__y + self.a__dot__b + self.c__slash__d + self.e__underscores__f", type, self), R"("ndosu")");
  EXPECT_EQ(run_typed("has(self.__namespace__) && !has(self.x__dash__y)", type, R"({"namespace": ""})"), "true");
  EXPECT_EQ(escape_field("in"), "__in__");
  EXPECT_EQ(escape_field("a$"), std::nullopt);
  EXPECT_EQ(unescape_field("a__dot__b"), "a.b");
  EXPECT_EQ(unescape_field("__if__"), "if");
}

TEST(CelSchema, ComparesListsByTheirType) {
  TypeRef item = Type::object("I", make_fields({{"k", Type::string()}, {"v", Type::integer()}}));
  TypeRef set = Type::list(Type::string(), kUnbounded, ListKind::set), map = Type::list(item, kUnbounded, ListKind::map, {"k"}), plain = Type::list(Type::string());
  EXPECT_EQ(run_typed("self == oldSelf", set, R"(["a", "b"])", R"(["b", "a"])"), "true");
  EXPECT_EQ(run_typed("self == oldSelf", plain, R"(["a", "b"])", R"(["b", "a"])"), "false");
  EXPECT_EQ(run_typed("self == oldSelf", map, R"([{"k": "a", "v": 1}, {"k": "b", "v": 2}])", R"([{"k": "b", "v": 2}, {"k": "a", "v": 1}])"), "true");
  EXPECT_EQ(run_typed("self + oldSelf", set, R"(["a", "b"])", R"(["b", "c"])"), R"(["a","b","c"])");
  EXPECT_EQ(run_typed("(self + oldSelf).map(i, i.v)", map, R"([{"k": "a", "v": 1}, {"k": "b", "v": 2}])", R"([{"k": "b", "v": 3}, {"k": "c", "v": 4}])"), "[1,3,4]");
}

TEST(CelSchema, GoesThroughMapsAndLists) {
  TypeRef inner = Type::object("I", make_fields({{"name", Type::string()}, {"when", Type::timestamp()}}));
  TypeRef type = Type::object("T", make_fields({{"items", Type::list(inner)}, {"byName", Type::map(Type::string(), inner)}}));
  std::string_view self = R"({"items": [{"name": "a", "when": "2024-01-01T00:00:00Z"}], "byName": {"x-y": {"name": "b", "when": "2025-01-01T00:00:00Z"}}})";
  EXPECT_EQ(run_typed("self.items.all(i, i.when.getFullYear() == 2024)", type, self), "true");
  EXPECT_EQ(run_typed("self.byName.all(k, self.byName[k].when.getFullYear() == 2025 && k == 'x-y')", type, self), "true");
  EXPECT_EQ(run_typed("self.byName.exists(k, v, v.name == 'b')", type, self), "true");
  EXPECT_EQ(run_typed("self.items == oldSelf.items && self == oldSelf", type, self, self), "true");
}

class Counted final : public Members {
 public:
  std::optional<Value> find(std::string_view name) const override {
    ++asked;
    if (name == "bad") return Value::failure("division by zero");
    return name == "answer" ? std::optional(Value::integer(42)) : std::nullopt;
  }
  mutable int asked = 0;
};

TEST(CelSchema, MakesMembersWhenTheyAreAskedFor) {
  Environment environment;
  environment.declare("variables", Type::object("kubernetes.variables", make_fields({{"answer", Type::integer()}, {"bad", Type::dyn()}})));
  auto* members = new Counted;
  Activation activation;
  activation.set("variables", Value::members(members));
  auto run = [&](std::string_view source) { return (*compile(source, environment))->evaluate(activation); };
  EXPECT_TRUE(run("true || variables.answer == 1")->is_true());
  EXPECT_EQ(members->asked, 0);
  EXPECT_TRUE(run("variables.answer == 42")->is_true());
  EXPECT_EQ(members->asked, 1);
  EXPECT_EQ(run("variables.bad").error().message(), "division by zero");
  EXPECT_FALSE(compile("variables.none", environment));
}

}  // namespace
}  // namespace kcube::cel
