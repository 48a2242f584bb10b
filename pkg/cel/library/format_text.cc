// 'a %s and a %d'.format([x, y]).
#include <charconv>
#include <cmath>
#include <map>

#include "pkg/cel/functions.h"
#include "pkg/cel/library/text.h"
#include "pkg/cel/time.h"

namespace kcube::cel {
namespace {

constexpr int64_t kMaxPrecision = 1000;

// One clause's text, or what is wrong.
struct Written {
  std::string text;
  std::string error;
};

Written refuse(std::string_view clause, const Value& v, std::string_view allowed) {
  return {"", "error during formatting: " + std::string(clause) + " clause can only be used on " + std::string(allowed) + ", was given " + v.dynamic_type().name()};
}

Written write_string(const Value& v);

// Inside lists and maps, text is quoted and times are calls.
Written write_item(const Value& v) {
  Written inner = write_string(v);
  if (!inner.error.empty()) return inner;
  switch (v.kind()) {
    case Kind::string: return {quoted(inner.text), ""};
    case Kind::bytes: return {"b" + quoted(inner.text), ""};
    case Kind::duration: return {"duration(" + quoted(inner.text) + ")", ""};
    case Kind::timestamp: return {"timestamp(" + quoted(inner.text) + ")", ""};
    case Kind::number: {
      if (!std::isfinite(v.as_number())) return inner;
      char buffer[400];
      return {std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, v.as_number(), std::chars_format::fixed, 6).ptr), ""};
    }
    default: return inner;
  }
}

Written write_list(const Value& v) {
  std::string out = "[";
  for (size_t i = 0; i < v.size(); ++i) {
    Written item = write_item(v.at(i));
    if (!item.error.empty()) return item;
    out += (i ? ", " : "") + item.text;
  }
  return {out + "]", ""};
}

Written write_map(const Value& v) {
  std::map<std::string, std::string> sorted;
  std::string error;
  v.for_each([&](const Value& key, const Value& value) {
    bool scalar = key.is(Kind::string) || key.is(Kind::boolean) || key.is(Kind::integer) || key.is(Kind::uint);
    if (!scalar) error = "no formatting function for map key of type " + key.dynamic_type().name();
    Written k = write_item(key), item = write_item(value);
    if (error.empty()) error = !k.error.empty() ? k.error : item.error;
    return sorted[k.text] = item.text, error.empty();
  });
  if (!error.empty()) return {"", error};
  std::string out = "{";
  for (const auto& [key, value] : sorted) out += (out.size() > 1 ? ", " : "") + key + ":" + value;
  return {out + "}", ""};
}

Written write_string(const Value& v) {
  switch (v.kind()) {
    case Kind::string: case Kind::bytes: return {std::string(v.as_text()), ""};
    case Kind::boolean: return {v.as_boolean() ? "true" : "false", ""};
    case Kind::integer: return {std::to_string(v.as_integer()), ""};
    case Kind::uint: return {std::to_string(v.as_uint()), ""};
    case Kind::number:
      return {shortest_number(v.as_number()), ""};
    case Kind::null: return {"null", ""};
    case Kind::duration: return {format_duration(v.duration_nanoseconds()), ""};
    case Kind::timestamp: return {format_timestamp({v.timestamp_seconds(), v.timestamp_nanoseconds()}), ""};
    case Kind::type: return {v.as_type().name(), ""};
    case Kind::list: return write_list(v);
    case Kind::map: return write_map(v);
    default: return {"", "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given " +
                             v.dynamic_type().name()};
  }
}

Written write_decimal(const Value& v) {
  if (v.is(Kind::integer)) return {std::to_string(v.as_integer()), ""};
  if (v.is(Kind::uint)) return {std::to_string(v.as_uint()), ""};
  if (v.is(Kind::number) && !std::isfinite(v.as_number())) return write_string(v);
  return refuse("decimal", v, "integers");
}

// "1.5e+03" as people write it: 1.5×10⁰³.
std::string raise_exponent(std::string_view text) {
  static constexpr std::string_view digits[]{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  size_t e = text.find('e');
  std::string out = std::string(text.substr(0, e)) + "×10";
  for (char c : text.substr(e + 1)) {
    if (c == '-') out += "⁻";
    if (c >= '0' && c <= '9') out += digits[c - '0'];
  }
  return out;
}

// %f and %e.
Written write_number(const Value& v, char clause, int64_t precision) {
  double d;
  if (v.is(Kind::number)) d = v.as_number();
  else if (v.is(Kind::integer)) d = static_cast<double>(v.as_integer());
  else if (v.is(Kind::uint)) d = static_cast<double>(v.as_uint());
  else if (v.is(Kind::string) && (v.as_text() == "NaN" || v.as_text() == "Infinity" || v.as_text() == "-Infinity")) return {std::string(v.as_text()), ""};
  else return refuse(clause == 'f' ? "fixed-point" : "scientific", v, clause == 'f' ? "doubles" : "doubles");
  if (std::isinf(d)) return {d < 0 ? "-∞" : "∞", ""};
  if (std::isnan(d)) return {"NaN", ""};
  char buffer[1500];
  auto format = clause == 'f' ? std::chars_format::fixed : std::chars_format::scientific;
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, d, format, static_cast<int>(precision)).ptr);
  return {clause == 'f' ? std::move(text) : raise_exponent(text), ""};
}

std::string in_base(uint64_t magnitude, bool negative, int base, bool upper) {
  char buffer[70];
  std::string out(buffer, std::to_chars(buffer, buffer + sizeof buffer, magnitude, base).ptr);
  if (upper) for (char& c : out) if (c >= 'a') c ^= 0x20;
  return (negative ? "-" : "") + out;
}

Written write_based(const Value& v, char clause) {
  int base = clause == 'b' ? 2 : clause == 'o' ? 8 : 16;
  if (v.is(Kind::integer)) {
    bool negative = v.as_integer() < 0;
    auto bits = static_cast<uint64_t>(v.as_integer());
    return {in_base(negative ? ~bits + 1 : bits, negative, base, clause == 'X'), ""};
  }
  if (v.is(Kind::uint)) return {in_base(v.as_uint(), false, base, clause == 'X'), ""};
  if (clause == 'b' && v.is(Kind::boolean)) return {v.as_boolean() ? "1" : "0", ""};
  if (base == 16 && (v.is(Kind::string) || v.is(Kind::bytes))) {
    std::string_view digits = clause == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    std::string out;
    for (unsigned char c : v.as_text()) out += digits[c >> 4], out += digits[c & 15];
    return {std::move(out), ""};
  }
  if (clause == 'b') return {"", "error during formatting: only integers and bools can be formatted as binary, was given " + v.dynamic_type().name()};
  if (base == 8) return refuse("octal", v, "integers");
  return {"", "error during formatting: only integers, byte buffers, and strings can be formatted as hex, was given " + v.dynamic_type().name()};
}

Written write_clause(const Value& v, char clause, int64_t precision) {
  switch (clause) {
    case 's': return write_string(v);
    case 'd': return write_decimal(v);
    case 'f': case 'e': return write_number(v, clause, precision < 0 ? 6 : precision);
    default: return write_based(v, clause);
  }
}

Value format(Arguments a, const Node&) {
  std::string_view text = a[0].as_text();
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) return Value::failure("unexpected end of string");
    if (text[i] == '%') {
      out += '%';
      continue;
    }
    if (next >= a[1].size()) return Value::failure("index " + std::to_string(next) + " out of range");
    int64_t precision = -1;
    if (text[i] == '.') {
      precision = 0;
      for (++i; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) precision = std::min(precision * 10 + (text[i] - '0'), kMaxPrecision + 1);
      if (i == text.size()) return Value::failure("could not parse formatting clause: error while parsing precision: could not find end of precision specifier");
      if (precision > kMaxPrecision) return Value::failure("could not parse formatting clause: precision exceeds maximum allowed precision " + std::to_string(kMaxPrecision));
    }
    if (std::string_view("sdfexXob").find(text[i]) == std::string_view::npos) {
      return Value::failure("could not parse formatting clause: unrecognized formatting clause \"" + std::string(1, text[i]) + "\"");
    }
    Written written = write_clause(a[1].at(next++), text[i], precision);
    if (!written.error.empty()) return Value::failure(std::move(written.error));
    out += written.text;
  }
  return Value::string(std::move(out));
}

constexpr FunctionRow kRows[]{{"format", ".(string, list(dyn)) string", format, CostRule::format_text}};

}  // namespace

std::span<const FunctionRow> format_text_functions() { return kRows; }

}  // namespace kcube::cel
