// int(), string(), type() and the other conversions.
#include <charconv>
#include <cmath>

#include "pkg/base/strings.h"
#include "pkg/cel/evaluator.h"
#include "pkg/cel/functions.h"
#include "pkg/cel/library/text.h"
#include "pkg/cel/time.h"

namespace kcube::cel {
namespace {

Value identity(Arguments a, const Node&) { return a[0]; }
Value type_of(Arguments a, const Node&) { return Value::type(a[0].dynamic_type()); }

Value cannot(std::string_view from, std::string_view to) {
  return Value::failure("type conversion error from '" + std::string(from) + "' to '" + std::string(to) + "'");
}

Value string_to_bool(Arguments a, const Node&) {
  std::string_view s = a[0].as_text();
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) if (s == yes) return Value::boolean(true);
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) if (s == no) return Value::boolean(false);
  return cannot("string", "bool");
}

Value string_to_bytes(Arguments a, const Node&) { return Value::bytes(std::string(a[0].as_text())); }
Value int_to_double(Arguments a, const Node&) { return Value::number(static_cast<double>(a[0].as_integer())); }
Value uint_to_double(Arguments a, const Node&) { return Value::number(static_cast<double>(a[0].as_uint())); }

Value string_to_double(Arguments a, const Node&) {
  std::string_view s = a[0].as_text();
  if (s.starts_with('+')) s.remove_prefix(1);
  double d = 0;
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), d);
  if (s.empty() || error != std::errc() || end != s.data() + s.size() || s.starts_with('+')) return cannot("string", "double");
  return Value::number(d);
}

Value double_to_int(Arguments a, const Node&) {
  double d = a[0].as_number();
  if (std::isnan(d) || d <= -9223372036854775808.0 || d >= 9223372036854775808.0) return Value::failure("integer overflow");
  return Value::integer(static_cast<int64_t>(d));
}
Value duration_to_int(Arguments a, const Node&) { return Value::integer(a[0].duration_nanoseconds()); }
Value timestamp_to_int(Arguments a, const Node&) { return Value::integer(a[0].timestamp_seconds()); }
Value uint_to_int(Arguments a, const Node&) {
  return a[0].as_uint() > INT64_MAX ? Value::failure("integer overflow") : Value::integer(static_cast<int64_t>(a[0].as_uint()));
}
Value string_to_int(Arguments a, const Node&) {
  std::string_view s = a[0].as_text();
  if (s.starts_with('+') && s.size() > 1 && s[1] != '-') s.remove_prefix(1);
  auto i = parse_int<int64_t>(s);
  return i ? Value::integer(*i) : cannot("string", "int");
}

Value double_to_uint(Arguments a, const Node&) {
  double d = a[0].as_number();
  if (std::isnan(d) || d < 0 || d >= 18446744073709551616.0) return Value::failure("unsigned integer overflow");
  return Value::uint(static_cast<uint64_t>(d));
}
Value int_to_uint(Arguments a, const Node&) {
  return a[0].as_integer() < 0 ? Value::failure("unsigned integer overflow") : Value::uint(static_cast<uint64_t>(a[0].as_integer()));
}
Value string_to_uint(Arguments a, const Node&) {
  auto u = parse_int<uint64_t>(a[0].as_text());
  return u ? Value::uint(*u) : cannot("string", "uint");
}

Value bytes_to_string(Arguments a, const Node&) {
  if (!valid_utf8(a[0].as_text())) return Value::failure("invalid UTF-8 in bytes, cannot convert to string");
  return Value::string(std::string(a[0].as_text()));
}
Value bool_to_string(Arguments a, const Node&) { return Value::text(a[0].as_boolean() ? "true" : "false"); }
Value int_to_string(Arguments a, const Node&) { return Value::string(std::to_string(a[0].as_integer())); }
Value uint_to_string(Arguments a, const Node&) { return Value::string(std::to_string(a[0].as_uint())); }
Value double_to_string(Arguments a, const Node&) { return Value::string(shortest_number(a[0].as_number())); }
Value duration_to_string(Arguments a, const Node&) { return Value::string(format_duration(a[0].duration_nanoseconds())); }
Value timestamp_to_string(Arguments a, const Node&) {
  return Value::string(format_timestamp({a[0].timestamp_seconds(), a[0].timestamp_nanoseconds()}));
}

Value string_to_duration(Arguments a, const Node&) {
  auto d = parse_duration(a[0].as_text());
  return d ? Value::duration(*d) : cannot("string", "google.protobuf.Duration");
}
Value int_to_timestamp(Arguments a, const Node&) {
  int64_t seconds = a[0].as_integer();
  if (seconds < kMinTimestamp || seconds > kMaxTimestamp) return Value::failure("timestamp overflow");
  return Value::timestamp(seconds, 0);
}
Value string_to_timestamp(Arguments a, const Node&) {
  auto t = parse_timestamp(a[0].as_text());
  if (!t) return cannot("string", "google.protobuf.Timestamp");
  if (t->seconds < kMinTimestamp || t->seconds > kMaxTimestamp) return Value::failure("timestamp overflow");
  return Value::timestamp(t->seconds, t->nanoseconds);
}

constexpr FunctionRow kRows[]{
    {"type", "(A) type(A)", type_of},
    {"dyn", "(A) dyn", identity},
    {"bool", "(bool) bool", identity},
    {"bool", "(string) bool", string_to_bool},
    {"bytes", "(bytes) bytes", identity},
    {"bytes", "(string) bytes", string_to_bytes, CostRule::to_bytes},
    {"double", "(double) double", identity},
    {"double", "(int) double", int_to_double},
    {"double", "(string) double", string_to_double},
    {"double", "(uint) double", uint_to_double},
    {"duration", "(duration) duration", identity},
    {"duration", "(string) duration", string_to_duration},
    {"int", "(int) int", identity},
    {"int", "(double) int", double_to_int},
    {"int", "(duration) int", duration_to_int},
    {"int", "(string) int", string_to_int},
    {"int", "(timestamp) int", timestamp_to_int},
    {"int", "(uint) int", uint_to_int},
    {"string", "(string) string", identity},
    {"string", "(bool) string", bool_to_string},
    {"string", "(bytes) string", bytes_to_string, CostRule::to_text},
    {"string", "(double) string", double_to_string},
    {"string", "(duration) string", duration_to_string},
    {"string", "(int) string", int_to_string},
    {"string", "(timestamp) string", timestamp_to_string},
    {"string", "(uint) string", uint_to_string},
    {"timestamp", "(timestamp) timestamp", identity},
    {"timestamp", "(int) timestamp", int_to_timestamp},
    {"timestamp", "(string) timestamp", string_to_timestamp},
    {"uint", "(uint) uint", identity},
    {"uint", "(double) uint", double_to_uint},
    {"uint", "(int) uint", int_to_uint},
    {"uint", "(string) uint", string_to_uint},
};

}  // namespace

std::span<const FunctionRow> conversion_functions() { return kRows; }

}  // namespace kcube::cel
