// The schema of a definition, and an object of it: input is the schema, a NUL, the object. What is pruned and defaulted once
// stays as it is; rules end within their cost.
#include "pkg/apiserver/extension/json_path.h"
#include "pkg/apiserver/extension/rules.h"
#include "pkg/apiserver/extension/schema_check.h"
#include "pkg/apiserver/extension/structural.h"
#include "pkg/apiserver/machinery/decode.h"
#include "pkg/apiserver/machinery/defaults.h"
#include "pkg/apiserver/machinery/validation.h"
#include "tests/fuzz/apiserver/machinery/objects.h"

using namespace kcube;
using namespace kcube::apiserver;
using kcube::fuzz::require;

namespace {

// The whole definition as the server gets it.
bool is_valid(const json::value& schema) {
  static const api::ResourceInfo& resource = *api::Schema::builtin().find_resource("apiextensions.k8s.io", "v1", "customresourcedefinitions");
  json::value definition = json::object{
      {"apiVersion", "apiextensions.k8s.io/v1"}, {"kind", "CustomResourceDefinition"}, {"metadata", json::object{{"name", "things.x.io"}}},
      {"spec", json::object{{"group", "x.io"}, {"scope", "Namespaced"}, {"names", json::object{{"plural", "things"}, {"singular", "thing"}, {"kind", "Thing"}, {"listKind", "ThingList"}}},
                            {"versions", json::array{json::object{{"name", "v1"}, {"served", true}, {"storage", true}, {"schema", json::object{{"openAPIV3Schema", schema}}}}}}}}};
  auto decoded = machinery::check_types(std::move(definition), *resource.type, machinery::FieldValidation::warn);
  if (!decoded) return false;
  machinery::apply_defaults(resource, decoded->value);
  return machinery::validate(resource, decoded->value, nullptr).empty();
}

}  // namespace

std::vector<std::string> kcube::fuzz::seeds() {
  using namespace std::string_literals;
  return {R"~({"type":"object","properties":{"spec":{"type":"object","required":["a"],"properties":{"a":{"type":"string","default":"x","pattern":"^[a-z]+$","maxLength":5,"enum":["x","y"]},"n":{"type":"integer","format":"int32","minimum":1,"exclusiveMinimum":true,"multipleOf":2}}}}})~"s + '\0' + R"~({"spec":{"n":4,"zz":1}})~",
          R"~({"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"}}}},"s":{"type":"array","x-kubernetes-list-type":"set","uniqueItems":false,"items":{"type":"string"}}}})~"s + '\0' + R"~({"l":[{"k":"a"},{"k":"a"}],"s":["x","x"]})~",
          R"~({"type":"object","x-kubernetes-preserve-unknown-fields":true,"x-kubernetes-validations":[{"rule":"self.a > 1","message":"no","messageExpression":"'n' + string(self.a)","fieldPath":".a"},{"rule":"oldSelf == self","optionalOldSelf":true}],"properties":{"a":{"type":"integer","nullable":true}}})~"s + '\0' + R"~({"a":1,"b":{"c":[]}})~",
          R"~({"type":"object","properties":{"m":{"type":"object","additionalProperties":{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}]}},"e":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true},"d":{"type":"string","format":"date-time"}},"oneOf":[{"required":["m"]},{"not":{"required":["e"]}}]})~"s + '\0' + R"~({"m":{"x":1,"y":"z"},"e":{"apiVersion":"v1","kind":"Pod","metadata":{"name":1}},"d":"2020-01-01T00:00:00Z"})~",
          R"~({"type":"string","format":"email"})~"s + '\0' + R"~("a@b")~", R"~({"type":"string","format":"ipv6"})~"s + '\0' + R"~("::1")~", R"~({"type":"string","format":"duration"})~"s + '\0' + R"~("1h")~", ".spec.a[0]['b c'][1:-1:2].x[*]..y[?(@.k==\"v\")]"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view input = fuzz::text(bytes, size);
  size_t zero = input.find('\0');
  if (zero == std::string_view::npos) {
    static const json::value root = *json::parse(R"~({"spec":{"a":[{"b c":[{"x":[1]}]}],"y":{"k":"v"}}})~");
    if (auto path = extension::JsonPath::parse(input)) (void)path->find(root);
    return 0;
  }
  auto schema = json::parse(input.substr(0, zero));
  auto object = json::parse(input.substr(zero + 1));
  if (!schema || !schema->is_object() || !is_valid(*schema)) return 0;
  auto structural = extension::Structural::from_json(*schema);
  std::vector<Cause> causes;
  extension::Rules::check(structural, "schema", causes);
  if (!object) return 0;
  extension::prune(*object, structural, true, nullptr);
  (void)extension::apply_defaults(*object, structural);
  json::value again = *object;
  extension::prune(again, structural, true, nullptr);
  require(!extension::apply_defaults(again, structural) && again == *object);
  (void)extension::check_schema(structural, *object, nullptr);
  require(extension::check_schema(structural, *object, &again).empty() || !extension::check_schema(structural, *object, nullptr).empty());
  if (auto rules = extension::Rules::compile(structural, true)) rules->evaluate(*object, &again, causes);
  return 0;
}
