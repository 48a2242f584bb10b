// Bodies in protobuf, CBOR and YAML: what is read is the same after it was written and read again. The first byte says which.
#include <algorithm>
#include <cmath>

#include "pkg/api/yaml.h"
#include "pkg/apiserver/machinery/cbor.h"
#include "pkg/apiserver/machinery/decode.h"
#include "pkg/apiserver/machinery/protobuf.h"
#include "pkg/apiserver/machinery/yaml_text.h"
#include "tests/fuzz/apiserver/machinery/objects.h"

using namespace kcube;
using kcube::fuzz::require;

namespace {

void protobuf(std::string_view input) {
  auto value = machinery::decode_protobuf(api::Schema::builtin(), input);
  if (!value) return require(value.error().code() == 400);
  const api::ResourceInfo* resource = fuzz::resource_of(*value);
  if (resource == nullptr || resource->type == nullptr) return;
  std::string bytes = machinery::encode_protobuf(*resource->type, *value);
  auto again = machinery::decode_protobuf(api::Schema::builtin(), bytes);
  require(again && machinery::encode_protobuf(*resource->type, *again) == bytes);
}

void cbor(std::string_view input) {
  auto value = machinery::decode_cbor(input);
  if (!value) return require(value.error().code() == 400 && !value.error().message().empty());
  require(machinery::check_cbor(input).has_value());
  std::string bytes = machinery::encode_cbor(*value);
  auto again = machinery::decode_cbor(bytes);
  require(again && *again == *value && machinery::encode_cbor(*again) == bytes);
  const api::ResourceInfo* resource = fuzz::resource_of(*value);
  if (resource == nullptr || resource->type == nullptr) return;
  auto checked = machinery::check_types(std::move(*value), *resource->type, machinery::FieldValidation::warn);
  if (!checked) return;
  auto typed = machinery::decode_cbor(machinery::encode_cbor(checked->value, resource->type));
  require(typed.has_value() && machinery::check_types(std::move(*typed), *resource->type, machinery::FieldValidation::warn).has_value());
}

int depth(const json::value& value) {
  int deepest = 0;
  if (value.is_object())
    for (const auto& m : value.get_object()) deepest = std::max(deepest, depth(m.value()));
  if (value.is_array())
    for (const json::value& v : value.get_array()) deepest = std::max(deepest, depth(v));
  return deepest + 1;
}

// A double that is a whole number is written as one.
json::value with_whole_numbers(const json::value& value) {
  json::value out = value;
  if (out.is_object())
    for (auto& m : out.get_object()) m.value() = with_whole_numbers(m.value());
  if (out.is_array())
    for (json::value& v : out.get_array()) v = with_whole_numbers(v);
  if (!out.is_double()) return out;
  const double d = out.get_double();
  if (d != std::trunc(d)) return out;
  if (d >= -0x1p63 && d < 0x1p63) out = static_cast<int64_t>(d);
  else if (d > 0 && d < 0x1p64) out = static_cast<uint64_t>(d);
  return out;
}

// Objects that are answered in YAML. Those nested deeper than YAML is read are left out.
void yaml(std::string_view input) {
  auto value = json::parse(input);
  if (!value || !value->is_object() || depth(*value) > 80) return;
  auto again = api::parse_yaml(machinery::yaml_text(*value));
  require(again && with_whole_numbers(*again) == with_whole_numbers(*value));
}

}  // namespace

std::vector<std::string> kcube::fuzz::seeds() {
  using namespace std::string_literals;
  std::vector<std::string> all{"c\xd9\xd9\xf7\xa1\x41" "a\xd6\x42\x01\x02"s, "c\xbf\x61" "a\x9f\x01\x20\xf9\x3e\0\xfa\x3f\xc0\0\0\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xff\xff"s, "c\x82\xc0\x54" "2020-01-01T00:00:00Z\xc1\x1a\x5e\x0b\xe1\0"s,
                               "c\x84\xf4\xf5\xf6\xf7"s, "c\x5f\x41" "a\x41" "b\xff"s, "c\x83\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x3b\x7f\xff\xff\xff\xff\xff\xff\xff\x19\x01\0"s};
  all.push_back(R"(y{"a":["","~"," x","x ","- a","a: b","a #b","#","1","1.5","0x1f","1:30","2020-01-01",".inf","y","|","a\nb","a\n","\n","a\n\n"," a\nb","\t","\r\u0085\u2028","'","\"",1.5,1e300,-0.0,true,null,{},[]]})");
  // As deep as it may be, where one level more on the way out would be too much on the way in.
  all.push_back("c" + std::string(512, '\x81') + '\x80');
  // Times at their edges: Go's zero and a little after it, the last that text can say and the next, and no number at all.
  auto pod = [](const std::string& time) { return "pk8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12"s + static_cast<char>(time.size() + 6) + "\x0a"s + static_cast<char>(time.size() + 4) + "\x42"s + static_cast<char>(time.size()) + time + "\x0a\0"s; };
  for (const char* seconds : {"\x80\x92\xb8\xc3\x98\xfe\xff\xff\xff\x01", "\xff\x82\xd1\xff\xaf\x07", "\x80\x83\xd1\xff\xaf\x07"})
    for (const std::string& nanos : {""s, "\x10\x01"s, "\x10\xe8\x07"s}) all.push_back(pod("\x08"s + seconds + nanos));
  for (const Sample& sample : samples()) {
    auto value = *json::parse(sample.text);
    all.push_back("y" + sample.text);
    all.push_back("c" + machinery::encode_cbor(value, sample.resource->type));
    all.push_back("p" + machinery::encode_protobuf(*sample.resource->type, value));
  }
  return all;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view input = fuzz::text(bytes, size);
  if (input.empty()) return 0;
  if (input[0] == 'c') cbor(input.substr(1));
  if (input[0] == 'p') protobuf(input.substr(1));
  if (input[0] == 'y') yaml(input.substr(1));
  return 0;
}
