// Expressions of strangers: compiling and evaluating any text ends, within its cost, without a crash, and twice the same.
#include "pkg/cel/program.h"
#include "tests/fuzz/driver/fuzz.h"

using namespace kcube;

std::vector<std::string> kcube::fuzz::seeds() {
  return {"object.a + 1 == 2 && object.c.d.startsWith('te')", "object.b.all(x, x != null) || object.b.exists_one(x, x == 1)", "names.map(n, n + 'x').filter(n, n.size() > 1).join(',')",
          "has(object.c.e) ? object.?z.orValue([1]) : [{'k': 1u}]", "'a1b2'.matches('[a-z][0-9]+') && 'x'.replace('x', 'y', 1) == \"y\"", "timestamp('2020-01-01T00:00:00Z') + duration('1h30m') > timestamp(0)",
          "quantity('1.5Gi').isGreaterThan(quantity('1G')) && ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3')",
          "Object{metadata: Object.metadata{labels: {'a': 'b'}}}", "[JSONPatch{op: 'add', path: '/a', value: dyn(1)}]", "b'\\xff\\n' + r'raw' == '''x''' ? -9223372036854775808 : 1.5e10 / 0.0",
          "[1, 2, 3].sortBy(x, -x).indexOf(2) + [[1], [2]].flatten().sum()", "cel.bind(v, object.a, v * v) % 7 == 0", "url('https://h:1/p?q=1').getHost() + format.dns1123Label().value().validate('A').value()[0]",
          "semver('1.2.3').compareTo(semver('2.0.0')) < 0 && optional.of(1).hasValue()"};
}

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
