// Strings: the standard's contains, startsWith and endsWith, and the strings extension (version 2). Positions count code
// points.
#include <algorithm>

#include "pkg/cel/functions.h"
#include "pkg/cel/library/text.h"

namespace kcube::cel {
namespace {

Value out_of_range(int64_t index) { return Value::failure("index out of range: " + std::to_string(index)); }

Value contains(Arguments a, const Node&) { return Value::boolean(a[0].as_text().find(a[1].as_text()) != std::string_view::npos); }
Value starts_with(Arguments a, const Node&) { return Value::boolean(a[0].as_text().starts_with(a[1].as_text())); }
Value ends_with(Arguments a, const Node&) { return Value::boolean(a[0].as_text().ends_with(a[1].as_text())); }

Value char_at(Arguments a, const Node&) {
  std::string_view s = a[0].as_text();
  std::vector<size_t> points = code_points(s);
  int64_t i = a[1].as_integer(), count = static_cast<int64_t>(points.size()) - 1;
  if (i < 0 || i > count) return out_of_range(i);
  if (i == count) return Value::text("");
  return Value::string(std::string(s.substr(points[i], points[i + 1] - points[i])));
}

// The number of the code point that begins at that byte.
int64_t point_of(const std::vector<size_t>& points, size_t byte) { return std::ranges::lower_bound(points, byte) - points.begin(); }

Value index_of(Arguments a, const Node&) {
  std::string_view s = a[0].as_text(), part = a[1].as_text();
  int64_t offset = a.size() == 3 ? a[2].as_integer() : 0;
  if (offset < 0) return out_of_range(offset);
  std::vector<size_t> points = code_points(s);
  int64_t count = static_cast<int64_t>(points.size()) - 1;
  if (part.empty()) return Value::integer(offset);
  if (offset >= count) return Value::integer(-1);
  size_t found = s.find(part, points[offset]);
  return Value::integer(found == std::string_view::npos ? -1 : point_of(points, found));
}

Value last_index_of(Arguments a, const Node&) {
  std::string_view s = a[0].as_text(), part = a[1].as_text();
  std::vector<size_t> points = code_points(s);
  int64_t count = static_cast<int64_t>(points.size()) - 1;
  if (a.size() == 2 && part.empty()) return Value::integer(count);
  if (a.size() == 2 && s.size() < part.size()) return Value::integer(-1);
  int64_t offset = a.size() == 3 ? a[2].as_integer() : count - 1;
  if (offset < 0) return out_of_range(offset);
  if (part.empty()) return Value::integer(offset);
  if (offset >= count) return Value::integer(-1);
  size_t found = s.rfind(part, points[offset]);
  return Value::integer(found == std::string_view::npos ? -1 : point_of(points, found));
}

template <char from, char to>
Value change_case(Arguments a, const Node&) {
  std::string out(a[0].as_text());
  for (char& c : out) {
    if (c >= from && c <= to) c ^= 0x20;
  }
  return Value::string(std::move(out));
}

Value replace(Arguments a, const Node&) {
  std::string_view s = a[0].as_text(), from = a[1].as_text(), to = a[2].as_text();
  int64_t limit = a.size() == 4 ? a[3].as_integer() : -1;
  std::string out;
  size_t at = 0;
  for (int64_t count = 0; limit < 0 || count < limit; ++count) {
    size_t found = s.find(from, at);
    if (from.empty() && count > 0) {
      // Between any two code points, and at both ends.
      if (at >= s.size()) break;
      size_t next = at + 1;
      while (next < s.size() && (static_cast<unsigned char>(s[next]) & 0xC0) == 0x80) ++next;
      out.append(s.substr(at, next - at));
      found = at = next;
    }
    if (found == std::string_view::npos) break;
    out.append(s.substr(at, found - at)).append(to);
    at = found + from.size();
    if (out.size() > (size_t{64} << 20)) return Value::failure("operation cancelled: actual cost limit exceeded");
  }
  if (at < s.size()) out.append(s.substr(at));
  return Value::string(std::move(out));
}

Value split(Arguments a, const Node&) {
  std::string_view s = a[0].as_text(), separator = a[1].as_text();
  int64_t limit = a.size() == 3 ? a[2].as_integer() : -1;
  std::vector<Value> parts;
  if (limit == 0) return Value::list({});
  if (separator.empty()) {
    std::vector<size_t> points = code_points(s);
    for (size_t i = 0; i + 1 < points.size(); ++i) {
      bool last = limit > 0 && static_cast<int64_t>(parts.size()) == limit - 1;
      parts.push_back(Value::string(std::string(s.substr(points[i], last ? std::string_view::npos : points[i + 1] - points[i]))));
      if (last) break;
    }
    return Value::list(std::move(parts));
  }
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit - 1) {
    size_t found = s.find(separator);
    if (found == std::string_view::npos) break;
    parts.push_back(Value::string(std::string(s.substr(0, found))));
    s.remove_prefix(found + separator.size());
  }
  parts.push_back(Value::string(std::string(s)));
  return Value::list(std::move(parts));
}

Value substring(Arguments a, const Node&) {
  std::string_view s = a[0].as_text();
  std::vector<size_t> points = code_points(s);
  int64_t count = static_cast<int64_t>(points.size()) - 1;
  int64_t start = a[1].as_integer(), end = a.size() == 3 ? a[2].as_integer() : count;
  if (a.size() == 3 && start > end) {
    return Value::failure("invalid substring range. start: " + std::to_string(start) + ", end: " + std::to_string(end));
  }
  if (start < 0 || start > count) return out_of_range(start);
  if (end < 0 || end > count) return out_of_range(end);
  return Value::string(std::string(s.substr(points[start], points[end] - points[start])));
}

// Unicode's white space, as Go trims it.
Value trim(Arguments a, const Node&) {
  static constexpr std::string_view spaces[]{" ", "\t", "\n", "\v", "\f", "\r", "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
                                             "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  std::string_view s = a[0].as_text();
  for (bool again = true; again; ) {
    again = false;
    for (std::string_view space : spaces) {
      if (s.starts_with(space)) s.remove_prefix(space.size()), again = true;
      if (s.ends_with(space)) s.remove_suffix(space.size()), again = true;
    }
  }
  return Value::string(std::string(s));
}

Value join(Arguments a, const Node&) {
  std::string_view separator = a.size() == 2 ? a[1].as_text() : std::string_view();
  std::string out;
  for (size_t i = 0; i < a[0].size(); ++i) {
    Value item = a[0].at(i);
    if (!item.is(Kind::string)) return Value::failure("join: invalid input: " + item.dynamic_type().name());
    if (i) out += separator;
    out += item.as_text();
  }
  return Value::string(std::move(out));
}

Value quote(Arguments a, const Node&) {
  static constexpr std::string_view plain = "\a\b\f\n\r\t\v\\\"", names = "abfnrtv\\\"";
  std::string out = "\"";
  for (char c : a[0].as_text()) {
    size_t i = plain.find(c);
    if (i == std::string_view::npos) out += c;
    else out += '\\', out += names[i];
  }
  return Value::string(out + '"');
}

constexpr FunctionRow kRows[]{
    {"contains", ".(string, string) bool", contains, CostRule::contains},
    {"startsWith", ".(string, string) bool", starts_with, CostRule::traverse},
    {"endsWith", ".(string, string) bool", ends_with, CostRule::traverse},
    {"charAt", ".(string, int) string", char_at},
    {"indexOf", ".(string, string) int", index_of, CostRule::walk_text},
    {"indexOf", ".(string, string, int) int", index_of, CostRule::walk_text},
    {"lastIndexOf", ".(string, string) int", last_index_of, CostRule::walk_text},
    {"lastIndexOf", ".(string, string, int) int", last_index_of, CostRule::walk_text},
    {"lowerAscii", ".(string) string", change_case<'A', 'Z'>, CostRule::substring},
    {"upperAscii", ".(string) string", change_case<'a', 'z'>, CostRule::substring},
    {"replace", ".(string, string, string) string", replace, CostRule::replace},
    {"replace", ".(string, string, string, int) string", replace, CostRule::replace},
    {"split", ".(string, string) list(string)", split, CostRule::split},
    {"split", ".(string, string, int) list(string)", split, CostRule::split},
    {"substring", ".(string, int) string", substring, CostRule::substring},
    {"substring", ".(string, int, int) string", substring, CostRule::substring},
    {"trim", ".(string) string", trim, CostRule::substring},
    {"join", ".(list(string)) string", join, CostRule::join},
    {"join", ".(list(string), string) string", join, CostRule::join},
    {"strings.quote", "(string) string", quote, CostRule::quote},
};

}  // namespace

std::span<const FunctionRow> string_functions() { return kRows; }

}  // namespace kcube::cel
