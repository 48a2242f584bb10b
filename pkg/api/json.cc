#include "pkg/api/json.h"

#include "pkg/api/json_members.h"

#include <boost/json/parse.hpp>
#include <boost/json/serializer.hpp>
#include <boost/json/stream_parser.hpp>

namespace kcube::json {

Result<value> parse(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = 512;
  boost::json::error_code error;
  boost::json::stream_parser parser({}, options);
  size_t used = parser.write_some(text.data(), text.size(), error);
  if (!error && used < text.size()) {
    size_t rest = text.find_first_not_of(" \t\r\n", used);
    if (rest != std::string_view::npos)
      return fail(Status::bad_request("invalid character '" + std::string(1, text[rest]) + "' after top-level value"));
  }
  if (!error) parser.finish(error);
  if (error) {
    if (used >= text.size()) return fail(Status::bad_request("unexpected end of JSON input"));
    return fail(Status::bad_request("invalid JSON at byte " + std::to_string(used) + ": " + error.message()));
  }
  return parser.release();
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

int64_t get_int(const value* v, int64_t fallback) {
  if (v == nullptr) return fallback;
  if (v->is_int64()) return v->get_int64();
  if (v->is_uint64()) return static_cast<int64_t>(v->get_uint64());
  if (v->is_double()) return static_cast<int64_t>(v->get_double());
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
