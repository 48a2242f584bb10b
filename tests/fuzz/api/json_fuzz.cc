// JSON of strangers: what parses is the same after it was written and parsed again.
#include "pkg/api/json.h"
#include "pkg/api/object.h"
#include "tests/fuzz/driver/fuzz.h"

using namespace kcube;
using kcube::fuzz::require;

std::vector<std::string> kcube::fuzz::seeds() {
  return {R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"x":"y"},"ownerReferences":[{"uid":"u","controller":true}]},"spec":{"nodeName":"n"}})",
          R"([1,-1,0,1.5,1e10,-1E-7,18446744073709551615,true,false,null,"",[],{}])", R"({"a":"\u00e9\ud83d\ude00\n\"\\\/","a":2})", "\"\\ud800\"", "\"\xff\xc3\"", "  {} ", "[[[[[[]]]]]]", "nul", "{\"a\":}"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view input = fuzz::text(bytes, size);
  auto value = json::parse(input);
  if (!value) {
    require(value.error().code() == 400 && !value.error().message().empty());
    return 0;
  }
  std::string text = json::serialize(*value);
  auto again = json::parse(text);
  require(again && *again == *value && json::serialize(*again) == text);
  (void)json::get_int(&*value);
  for (const auto& member : json::get_object(&*value)) {
    (void)json::get_int(&member.value());
    (void)json::get_double(&member.value());
  }
  if (!value->is_object()) return 0;
  (void)api::Object::from_text(std::string(input));
  auto object = api::Object::make(api::encode(*value), 7);
  require(object->revision() == 7 && json::parse(object->bytes()).has_value());
  return 0;
}
