// An object of a built-in kind from a stranger: decoded, defaulted, validated, shown as a Table, as the API server does.
#include "pkg/apiserver/machinery/decode.h"
#include "pkg/apiserver/machinery/defaults.h"
#include "pkg/apiserver/machinery/table.h"
#include "pkg/apiserver/machinery/validation.h"
#include "pkg/apiserver/machinery/yaml_text.h"
#include "pkg/api/object.h"
#include "tests/fuzz/apiserver/machinery/objects.h"

using namespace kcube;
using kcube::fuzz::require;

std::vector<std::string> kcube::fuzz::seeds() {
  std::vector<std::string> all;
  for (const Sample& sample : samples()) all.push_back(sample.text);
  return all;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view input = fuzz::text(bytes, size);
  auto body = machinery::parse_body("application/json", input);
  if (!body || !body->is_object()) return 0;
  (void)machinery::duplicate_fields(input);
  const api::ResourceInfo* resource = fuzz::resource_of(*body);
  if (resource == nullptr || resource->type == nullptr) return 0;
  (void)machinery::strict_problems(input, *resource->type);
  auto decoded = machinery::check_types(std::move(*body), *resource->type, machinery::FieldValidation::warn);
  if (!decoded) return 0;
  json::value& object = decoded->value;
  const json::value as_sent = object;
  machinery::apply_defaults(*resource, object);
  const json::value once = object;
  machinery::apply_defaults(*resource, object);
  require(object == once);
  (void)machinery::validate_metadata(*resource, object, nullptr);
  (void)machinery::validate(*resource, object, nullptr);
  (void)machinery::validate(*resource, object, &as_sent);
  auto stored = api::Object::make(api::encode(object), 5);
  std::string table = machinery::table(*resource, {stored}, {{"resourceVersion", "5"}}, machinery::IncludeObject::metadata, true, SystemTime(std::chrono::hours(24 * 365 * 50)));
  require(json::parse(table).has_value());
  (void)machinery::yaml_text(object);
  return 0;
}
