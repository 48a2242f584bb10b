// YAML of strangers: what is read is JSON.
#include "pkg/api/yaml.h"
#include "tests/fuzz/driver/fuzz.h"

using namespace kcube;
using kcube::fuzz::require;

std::vector<std::string> kcube::fuzz::seeds() {
  return {"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  labels: {a: b, \"c\": 'd'}\ndata:\n  t: |\n    line\n    more\n  f: >-\n    folded\n",
          "a: &x [1, 0x1f, 0644, 1.5, .inf, ~, yes, null, 2020-01-01]\nb: *x\n<<: {c: d}\n", "---\na: 1\n...\n--- \n- b\n- ? k\n  : v\n", "{\"json\": [true, {}]}", "a: !!str 1\nb: !!binary aGk=\n",
          "a: [[[[[[[[]]]]]]]]", "? [a, b]\n: c\n", "a: \"\\x41\\u00e9\\n\"\n# comment\n", "%YAML 1.1\n---\nk: v\n", "a: &a {b: *a}\n", "x: &a [z,z,z]\ny: &b [*a,*a,*a]\nz: [*b,*b,*b]\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view input = fuzz::text(bytes, size);
  if (auto documents = api::parse_documents(input))
    for (const json::value& document : *documents) require(json::parse(json::serialize(document)).has_value());
  auto one = api::parse_yaml(input);
  require(one || one.error().code() == 400);
  return 0;
}
