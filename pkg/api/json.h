// JSON values, as every room that reads or makes API objects uses them: Boost.JSON under our own names, with the few
// accessors that make reading a deep path short. Reading never throws; a missing or mistyped value reads as empty.
// A trap of Boost.JSON: `json::value v{x}` with braces makes an array of one element; write `json::value v(x)`. Text of
// type std::string_view becomes a value through key(): `object["name"] = json::key(text)`.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "pkg/base/status.h"

namespace kcube::json {

using boost::json::array;
using boost::json::kind;
using boost::json::object;
using boost::json::string;
using boost::json::value;

inline std::string_view view(const string& s) { return {s.data(), s.size()}; }
inline std::string_view view(boost::json::string_view s) { return {s.data(), s.size()}; }
inline boost::json::string_view key(std::string_view s) { return {s.data(), s.size()}; }

// Parses one JSON document; 400 BadRequest with the position when malformed, nested deeper than 512, or followed by
// anything but white space. Of duplicate keys the last wins.
Result<value> parse(std::string_view text);
std::string serialize(const value& v);
void append(std::string& out, const value& v);
void append_quoted(std::string& out, std::string_view text);

// The member or null; `v` may be null itself or no object.
const value* find(const value* v, std::string_view name);
value* find(value* v, std::string_view name);
// A path of member names: at(&pod, {"spec", "nodeName"}).
const value* at(const value* v, std::initializer_list<std::string_view> path);

std::string_view get_string(const value* v, std::string_view fallback = {});
int64_t get_int(const value* v, int64_t fallback = 0);
double get_double(const value* v, double fallback = 0);
bool get_bool(const value* v, bool fallback = false);
inline std::string_view get_string(const value& v, std::initializer_list<std::string_view> path) { return get_string(at(&v, path)); }
inline int64_t get_int(const value& v, std::initializer_list<std::string_view> path, int64_t fallback = 0) { return get_int(at(&v, path), fallback); }
inline bool get_bool(const value& v, std::initializer_list<std::string_view> path, bool fallback = false) { return get_bool(at(&v, path), fallback); }
// Empty when missing or mistyped.
const object& get_object(const value* v);
const array& get_array(const value* v);

// The object or array member of that name, made when missing or of another type.
object& ensure_object(object& parent, std::string_view name);
array& ensure_array(object& parent, std::string_view name);
// Walks and makes a path of objects, e.g. ensure_path(pod, {"status"}).
object& ensure_path(value& root, std::initializer_list<std::string_view> path);

}  // namespace kcube::json
