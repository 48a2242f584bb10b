// Patches of strangers on objects of built-in kinds. Input: the kind of patch, the number of the object, the patch.
#include "pkg/apiserver/machinery/apply.h"
#include "pkg/apiserver/machinery/decode.h"
#include "pkg/apiserver/machinery/patch.h"
#include "tests/fuzz/apiserver/machinery/objects.h"

using namespace kcube;
using kcube::fuzz::require;

namespace {

// As the API server: the configuration, and one more write by another manager.
void apply(const fuzz::Sample& sample, const json::value& live, json::value patch) {
  auto config = machinery::check_types(std::move(patch), *sample.resource->type, machinery::FieldValidation::warn, machinery::Empty::keep);
  if (!config) return;
  machinery::ApplyOptions options{.manager = "m", .force = true, .subresource = "", .api_version = sample.resource->api_version()};
  auto applied = machinery::apply(&live, config->value, *sample.resource->type, options);
  if (!applied) return;
  auto again = machinery::apply(&*applied, config->value, *sample.resource->type, options);
  require(again.has_value() && *again == *applied);
  options.manager = "other";
  options.force = false;
  (void)machinery::apply(&*applied, config->value, *sample.resource->type, options);
  machinery::update_managed_fields(&live, *applied, *sample.resource->type, options);
}

}  // namespace

std::vector<std::string> kcube::fuzz::seeds() {
  std::vector<std::string> all;
  const auto& objects = samples();
  for (size_t i = 0; i < objects.size() && i < 200; ++i) {
    std::string head(1, static_cast<char>(i));
    all.push_back("a" + head + objects[i].text);
    all.push_back("s" + head + objects[i].text);
    if (i % 20 == 0) all.push_back("m" + head + R"({"metadata":{"labels":{"a":null,"b":"c"}},"spec":null})");
    if (i % 20 == 1) all.push_back("j" + head + R"([{"op":"test","path":"/kind","value":"x"},{"op":"add","path":"/metadata/labels","value":{"a":"b"}},{"op":"add","path":"/spec/l/-","value":1},{"op":"move","from":"/spec","path":"/s"},{"op":"copy","from":"/s/a~1b~0","path":"/t/0"},{"op":"remove","path":"/metadata/name"},{"op":"replace","path":"","value":{}}])");
    if (i % 20 == 2) all.push_back("s" + head + R"({"spec":{"$patch":"replace","$retainKeys":["a"],"containers":[{"name":"a","$patch":"delete"},{"name":"b","image":"x"}],"$setElementOrder/containers":[{"name":"b"}]},"metadata":{"$deleteFromPrimitiveList/finalizers":["f"],"finalizers":["g"]}})");
  }
  return all;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 3) return 0;
  const fuzz::Sample& sample = fuzz::samples()[bytes[1] % fuzz::samples().size()];
  auto patch = json::parse(fuzz::text(bytes, size).substr(2));
  if (!patch) return 0;
  static std::vector<json::value> parsed(fuzz::samples().size());
  json::value& live = parsed[bytes[1] % parsed.size()];
  if (live.is_null()) live = *json::parse(sample.text);
  const json::value before = live;
  switch (bytes[0]) {
    case 'j': (void)machinery::json_patch(live, *patch); break;
    case 'm': (void)machinery::merge_patch(live, *patch); break;
    case 's': (void)machinery::strategic_merge_patch(live, *patch, *sample.resource->type); break;
    case 'a': apply(sample, live, std::move(*patch)); break;
  }
  require(live == before);
  return 0;
}
