#include "pkg/apiserver/machinery/openapi_proto.h"

#include <cstdint>

#include "pkg/api/json.h"
#include "pkg/base/protobuf_wire.h"

namespace kcube::machinery {
namespace {

using protobuf::put_bytes;
using protobuf::put_double;
using protobuf::put_number;

// Any: its YAML, which JSON is.
std::string any(const json::value& v) {
  std::string out;
  put_bytes(out, 2, json::serialize(v));
  return out;
}
std::string named(std::string_view name, std::string_view value) {
  std::string out;
  put_bytes(out, 1, name);
  put_bytes(out, 2, value);
  return out;
}
void texts(std::string& out, uint64_t field, const json::value& list) {
  if (list.is_string()) return put_bytes(out, field, json::get_string(&list));
  for (const json::value& v : json::get_array(&list)) put_bytes(out, field, json::get_string(&v));
}

std::string schema(const json::value& v);

std::string schemas(const json::value& members) {
  std::string out;
  for (const auto& m : json::get_object(&members)) put_bytes(out, 1, named(json::view(m.key()), schema(m.value())));
  return out;
}

std::string additional(const json::value& v) {
  std::string out;
  if (v.is_bool()) put_number(out, 2, v.get_bool() ? 1 : 0);
  else put_bytes(out, 1, schema(v));
  return out;
}

struct Member {
  std::string_view name;
  uint64_t field;
  enum class Kind { text, real, number, boolean, texts, any, anys, nested, map, schemas, items, types } kind;
};
using Kind = Member::Kind;
constexpr Member kSchema[] = {
    {"$ref", 1, Kind::text}, {"format", 2, Kind::text}, {"title", 3, Kind::text}, {"description", 4, Kind::text}, {"default", 5, Kind::any}, {"multipleOf", 6, Kind::real},
    {"maximum", 7, Kind::real}, {"exclusiveMaximum", 8, Kind::boolean}, {"minimum", 9, Kind::real}, {"exclusiveMinimum", 10, Kind::boolean}, {"maxLength", 11, Kind::number},
    {"minLength", 12, Kind::number}, {"pattern", 13, Kind::text}, {"maxItems", 14, Kind::number}, {"minItems", 15, Kind::number}, {"uniqueItems", 16, Kind::boolean},
    {"maxProperties", 17, Kind::number}, {"minProperties", 18, Kind::number}, {"required", 19, Kind::texts}, {"enum", 20, Kind::anys}, {"additionalProperties", 21, Kind::nested},
    {"type", 22, Kind::types}, {"items", 23, Kind::items}, {"allOf", 24, Kind::schemas}, {"properties", 25, Kind::map}, {"readOnly", 27, Kind::boolean}, {"example", 30, Kind::any}};

void write_member(std::string& out, const Member& m, const json::value& v) {
  std::string inner;
  switch (m.kind) {
    case Kind::text: return put_bytes(out, m.field, json::get_string(&v));
    case Kind::real: return put_double(out, m.field, json::get_double(&v));
    case Kind::number: return put_number(out, m.field, static_cast<uint64_t>(json::get_int(&v)));
    case Kind::boolean: return put_number(out, m.field, json::get_bool(&v) ? 1 : 0);
    case Kind::texts: return texts(out, m.field, v);
    case Kind::any: return put_bytes(out, m.field, any(v));
    case Kind::anys:
      for (const json::value& one : json::get_array(&v)) put_bytes(out, m.field, any(one));
      return;
    case Kind::schemas:
      for (const json::value& one : json::get_array(&v)) put_bytes(out, m.field, schema(one));
      return;
    case Kind::nested: return put_bytes(out, m.field, additional(v));
    case Kind::map: return put_bytes(out, m.field, schemas(v));
    case Kind::types: texts(inner, 1, v); break;
    case Kind::items:
      if (v.is_array())
        for (const json::value& one : v.get_array()) put_bytes(inner, 1, schema(one));
      else put_bytes(inner, 1, schema(v));
      break;
  }
  put_bytes(out, m.field, inner);
}

std::string schema(const json::value& v) {
  std::string out;
  for (const auto& m : json::get_object(&v)) {
    std::string_view name = json::view(m.key());
    if (name.starts_with("x-")) put_bytes(out, 31, named(name, any(m.value())));
    for (const Member& known : kSchema)
      if (known.name == name) write_member(out, known, m.value());
  }
  return out;
}

// ParametersItem of one in the query; empty for others.
std::string parameter(const json::value& p) {
  if (json::get_string(p, {"in"}) != "query") return {};
  std::string query, non_body, wrapped, item;
  if (json::get_bool(p, {"required"})) put_number(query, 1, 1);
  put_bytes(query, 2, "query");
  if (std::string_view text = json::get_string(p, {"description"}); !text.empty()) put_bytes(query, 3, text);
  put_bytes(query, 4, json::get_string(p, {"name"}));
  put_bytes(query, 6, json::get_string(p, {"type"}));
  put_bytes(non_body, 3, query);
  put_bytes(wrapped, 2, non_body);
  put_bytes(item, 1, wrapped);
  return item;
}

void parameters(std::string& out, uint64_t field, const json::value& owner) {
  for (const json::value& p : json::get_array(json::find(&owner, "parameters")))
    if (std::string item = parameter(p); !item.empty()) put_bytes(out, field, item);
}

std::string operation(const json::value& v) {
  std::string out;
  put_bytes(out, 5, json::get_string(v, {"operationId"}));
  if (const json::value* list = json::find(&v, "produces")) texts(out, 6, *list);
  if (const json::value* list = json::find(&v, "consumes")) texts(out, 7, *list);
  parameters(out, 8, v);
  put_bytes(out, 9, {});
  for (const auto& m : json::get_object(&v))
    if (json::view(m.key()).starts_with("x-")) put_bytes(out, 13, named(json::view(m.key()), any(m.value())));
  return out;
}

std::string path_item(const json::value& v) {
  constexpr std::pair<std::string_view, uint64_t> kMethods[] = {{"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"options", 6}, {"head", 7}, {"patch", 8}};
  std::string out;
  for (auto [name, field] : kMethods)
    if (const json::value* one = json::find(&v, name)) put_bytes(out, field, operation(*one));
  parameters(out, 9, v);
  return out;
}

}  // namespace

std::string openapi_v2_proto(std::string_view json_text) {
  auto document = json::parse(json_text);
  if (!document) return {};
  std::string out, info, paths;
  put_bytes(out, 1, "2.0");
  put_bytes(info, 1, json::get_string(*document, {"info", "title"}));
  put_bytes(info, 2, json::get_string(*document, {"info", "version"}));
  put_bytes(out, 2, info);
  for (const auto& m : json::get_object(json::find(&*document, "paths"))) put_bytes(paths, 2, named(json::view(m.key()), path_item(m.value())));
  put_bytes(out, 8, paths);
  if (const json::value* definitions = json::find(&*document, "definitions")) put_bytes(out, 9, schemas(*definitions));
  return out;
}

}  // namespace kcube::machinery
