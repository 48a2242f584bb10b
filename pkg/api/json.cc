#include "pkg/api/json.h"

#include <boost/json/serializer.hpp>

#include <limits>

#include "pkg/api/json_builder.h"
#include "pkg/api/json_depth.h"
#include "pkg/api/json_errors.h"
#include "pkg/api/json_members.h"

namespace kcube::json {

namespace {

// True when the whole text is one document. `overflow` is the number, if that was it, which a double cannot hold.
bool parse_whole(std::string_view text, value& out, std::string& overflow, int max_depth) {
  boost::json::parse_options options;
  options.max_depth = static_cast<size_t>(max_depth);
  boost::json::error_code error;
  boost::json::basic_parser<Builder> parser(options);
  parser.handler().stack.reset();
  // With nothing more to come, a number at the end is whole.
  size_t used = parser.write_some(false, text.data(), text.size(), error);
  overflow = std::move(parser.handler().overflow);
  if (error || text.find_first_not_of(" \t\r\n", used) != std::string_view::npos) return false;
  out = parser.handler().stack.release();
  return true;
}

Result<value> parse_up_to(std::string_view text, int max_depth) {
  value out;
  std::string overflow;
  if (parse_whole(text, out, overflow, max_depth)) return out;
  // Go takes text that is no UTF-8, and half surrogates, and shows U+FFFD instead.
  if (std::string fixed = repaired(text); fixed != text && parse_whole(fixed, out, overflow, max_depth)) return out;
  if (!overflow.empty()) return fail(Status::bad_request("json: cannot unmarshal number " + overflow + " into Go value of type float64"));
  std::string why = syntax_error(text, max_depth);
  return fail(Status::bad_request(why.empty() ? "invalid JSON" : std::move(why)));
}

}  // namespace

Result<value> parse(std::string_view text) { return parse_up_to(text, kUsualDepth); }
Result<value> parse_deep(std::string_view text) { return parse_up_to(text, kMostDepth); }

bool is_deeper(const value& v, int most) {
  if (!v.is_object() && !v.is_array()) return false;
  if (most == 0) return true;
  if (v.is_object()) {
    for (const auto& m : v.get_object())
      if (is_deeper(m.value(), most - 1)) return true;
    return false;
  }
  for (const value& item : v.get_array())
    if (is_deeper(item, most - 1)) return true;
  return false;
}

void append(std::string& out, const value& v) {
  boost::json::serializer serializer;
  serializer.reset(&v);
  char buffer[8192];
  while (!serializer.done()) {
    auto piece = serializer.read(buffer, sizeof buffer);
    out.append(piece.data(), piece.size());
  }
}

std::string serialize(const value& v) {
  std::string out;
  append(out, v);
  return out;
}

void append_quoted(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (unsigned char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (c < 0x20) {
          out += "\\u00";
          out += {kHex[c >> 4], kHex[c & 15]};
        } else {
          out += static_cast<char>(c);
        }
    }
  }
  out += '"';
}

const value* find(const value* v, std::string_view name) {
  if (v == nullptr || !v->is_object()) return nullptr;
  return v->get_object().if_contains(key(name));
}

value* find(value* v, std::string_view name) {
  if (v == nullptr || !v->is_object()) return nullptr;
  return v->get_object().if_contains(key(name));
}

const value* at(const value* v, std::initializer_list<std::string_view> path) {
  for (auto name : path) v = find(v, name);
  return v;
}

std::string_view get_string(const value* v, std::string_view fallback) {
  return v != nullptr && v->is_string() ? view(v->get_string()) : fallback;
}

// Converting a double that does not fit is undefined.
static int64_t saturated(double d) {
  constexpr double kLimit = 9223372036854775808.0;   // 2^63
  if (d >= kLimit) return std::numeric_limits<int64_t>::max();
  if (d < -kLimit) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(d);
}

int64_t get_int(const value* v, int64_t fallback) {
  if (v == nullptr) return fallback;
  if (v->is_int64()) return v->get_int64();
  if (v->is_uint64()) return static_cast<int64_t>(v->get_uint64());
  if (v->is_double()) return saturated(v->get_double());
  return fallback;
}

double get_double(const value* v, double fallback) {
  if (v == nullptr) return fallback;
  if (v->is_double()) return v->get_double();
  if (v->is_int64()) return static_cast<double>(v->get_int64());
  if (v->is_uint64()) return static_cast<double>(v->get_uint64());
  return fallback;
}

bool get_bool(const value* v, bool fallback) { return v != nullptr && v->is_bool() ? v->get_bool() : fallback; }

const object& get_object(const value* v) {
  static const object empty;
  return v != nullptr && v->is_object() ? v->get_object() : empty;
}

const array& get_array(const value* v) {
  static const array empty;
  return v != nullptr && v->is_array() ? v->get_array() : empty;
}

object& ensure_object(object& parent, std::string_view name) {
  value& member = parent[key(name)];
  if (!member.is_object()) member = object(parent.storage());
  return member.get_object();
}

array& ensure_array(object& parent, std::string_view name) {
  value& member = parent[key(name)];
  if (!member.is_array()) member = array(parent.storage());
  return member.get_array();
}

void erase_members(object& from, const std::vector<size_t>& places) {
  constexpr size_t kFew = 4;
  if (places.size() <= kFew) {
    for (size_t i = places.size(); i-- > 0;) from.stable_erase(from.begin() + static_cast<std::ptrdiff_t>(places[i]));
    return;
  }
  object kept(from.storage());
  kept.reserve(from.size() - places.size());
  auto gone = places.begin();
  size_t place = 0;
  for (auto& member : from) {
    if (gone != places.end() && *gone == place++) ++gone;
    else kept.emplace(member.key(), std::move(member.value()));
  }
  from = std::move(kept);
}

object& ensure_path(value& root, std::initializer_list<std::string_view> path) {
  if (!root.is_object()) root = object(root.storage());
  object* here = &root.get_object();
  for (auto name : path) here = &ensure_object(*here, name);
  return *here;
}

}  // namespace kcube::json
