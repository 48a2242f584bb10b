// Expressions of strangers: compiling and evaluating any text ends, within its cost, without a crash, and twice the same.
#include "pkg/cel/program.h"

using namespace kcube;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const json::value document = *json::parse(R"({"a": 1, "b": [1, "x", null, 2.5], "c": {"d": "text", "e": {"f": true}}})");
  std::string_view source(reinterpret_cast<const char*>(bytes), size);
  cel::Environment environment;
  environment.declare("object", cel::Type::dyn()).declare("names", cel::Type::list(cel::Type::string())).enable_mutations();
  auto program = cel::compile(source, environment);
  if (!program) {
    if (program.error().message().empty()) __builtin_trap();
    return 0;
  }
  cel::Activation activation;
  activation.set("object", cel::Value::json(document)).set("names", cel::Value::list({cel::Value::text("n")}));
  cel::Usage first, second;
  auto one = (*program)->evaluate(activation, {.cost = 10'000}, &first), two = (*program)->evaluate(activation, {.cost = 10'000}, &second);
  if (one.has_value() != two.has_value() || first.cost != second.cost) __builtin_trap();
  if (one) (void)cel::to_json(*one);
  return 0;
}
