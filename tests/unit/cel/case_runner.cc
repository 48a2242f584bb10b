#include "tests/unit/cel/case_runner.h"

#include "pkg/cel/evaluator.h"
#include "pkg/cel/library/text.h"

namespace kcube::cel {
namespace {

std::string show(const Value& value) {
  switch (value.kind()) {
    case Kind::uint: return std::to_string(value.as_uint()) + "u";
    case Kind::number: return shortest_number(value.as_number()) + "d";
    case Kind::bytes: return "b'" + std::string(value.as_text()) + "'";
    case Kind::optional: return value.contained() ? "optional(" + show(*value.contained()) + ")" : "none";
    case Kind::list: case Kind::map: {
      auto json = to_json(value);
      return json ? json::serialize(*json) : json.error().message();
    }
    default: return describe(value);
  }
}

}  // namespace

std::string run_case(std::string_view expression, std::string_view variables) {
  auto document = json::parse(variables);
  EXPECT_TRUE(document) << variables;
  Environment environment;
  Activation activation;
  for (const auto& member : document->get_object()) {
    environment.declare(std::string(member.key()), Type::dyn());
    activation.set(json::view(member.key()), Value::json(member.value()));
  }
  auto program = compile(expression, environment);
  if (!program) {
    std::string_view message = program.error().message();
    size_t end = std::min(message.find("\n | "), message.size());
    size_t begin = message.find(": ", message.find("<input>")) + 2;
    return "compile: " + std::string(message.substr(begin, end - begin));
  }
  auto result = (*program)->evaluate(activation);
  return result ? show(*result) : "error: " + result.error().message();
}

void run_cases(std::span<const Case> cases, std::string_view variables) {
  for (const Case& c : cases) EXPECT_EQ(run_case(c.expression, variables), c.expected) << c.expression;
}

}  // namespace kcube::cel
