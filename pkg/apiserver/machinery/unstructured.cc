#include "pkg/apiserver/machinery/unstructured.h"

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::Shape;

// Kinds as Go's reflection names them.
std::string go_kind(const json::value& v) {
  if (v.is_object()) return "map";
  if (v.is_array()) return "slice";
  if (v.is_string()) return "string";
  if (v.is_bool()) return "bool";
  return v.is_double() ? "float64" : "int64";
}

std::string unless(bool fits, std::string problem) { return fits ? std::string() : problem; }

std::string single_problem(const json::value& v, const Field& field) {
  if (v.is_null()) return {};
  switch (field.kind) {
    case FieldKind::message: return v.is_object() ? unstructured_problem(v, *field.type) : "cannot restore struct from: " + go_kind(v);
    case FieldKind::string:
      // Go could make a character of a number.
      if (v.is_int64() || v.is_uint64()) return "cannot convert int64 to " + (field.go_name.empty() ? "string" : std::string(field.go_name));
      return unless(v.is_string(), "unrecognized type: string");
    case FieldKind::boolean: return unless(v.is_bool(), "unrecognized type: bool");
    case FieldKind::int32: return unless(v.is_number(), "unrecognized type: int32");
    case FieldKind::int64: return unless(v.is_number(), "unrecognized type: int64");
    case FieldKind::number: return unless(v.is_number(), "unrecognized type: float64");
    case FieldKind::bytes: return unless(v.is_string() || v.is_array(), "cannot restore slice from " + go_kind(v));
    default: return {};   // these have decoders of their own
  }
}

std::string list_problem(const json::value& v, const Field& field) {
  if (v.is_null()) return {};
  if (!v.is_array()) return "cannot restore slice from " + go_kind(v);
  for (const json::value& item : v.get_array())
    if (std::string problem = single_problem(item, field); !problem.empty()) return problem;
  return {};
}

}  // namespace

std::string unstructured_problem(const json::value& value, const api::Type& type) {
  for (const auto& m : json::get_object(&value)) {
    const Field* field = type.field(json::view(m.key()));
    if (field == nullptr || m.value().is_null()) continue;
    std::string problem;
    if (field->shape == Shape::single) problem = single_problem(m.value(), *field);
    else if (field->shape == Shape::list) problem = list_problem(m.value(), *field);
    else if (!m.value().is_object()) problem = "cannot restore map from " + go_kind(m.value());
    else
      for (const auto& one : m.value().get_object())
        if (problem.empty()) problem = field->shape == Shape::map ? single_problem(one.value(), *field) : list_problem(one.value(), *field);
    if (!problem.empty()) return problem;
  }
  return {};
}

}  // namespace kcube::machinery
