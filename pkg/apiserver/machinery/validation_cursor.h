// A value of the object under examination together with its path, so that a rule reads as it is spoken:
//   if (port["name"].empty()) port["name"].required();
// A missing member is a cursor too: it reads as empty and knows its path. Private to machinery.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pkg/api/errors.h"
#include "pkg/api/json.h"

namespace kcube::machinery {

class Cursor {
 public:
  Cursor(const json::value* value, std::string path, std::vector<Cause>& causes)
      : value_(value != nullptr && value->is_null() ? nullptr : value), path_(std::move(path)), causes_(&causes) {}

  // The member: "spec.ports" of "spec"; the entry of a map: "data[a]"; the same path with another value.
  Cursor operator[](std::string_view member) const;
  Cursor entry(std::string_view key) const;
  Cursor with(const json::value* value) const { return {value, path_, *causes_}; }
  Cursor renamed(std::string path) const { return {value_, std::move(path), *causes_}; }

  const json::value* value() const { return value_; }
  const std::string& path() const { return path_; }
  bool present() const { return value_ != nullptr; }
  bool empty() const;   // absent, "", [] or {}
  size_t size() const;  // of an array or object
  std::string_view text() const { return json::get_string(value_); }
  int64_t number(int64_t fallback = 0) const { return json::get_int(value_, fallback); }
  bool flag() const { return json::get_bool(value_); }
  bool is_text() const { return value_ != nullptr && value_->is_string(); }
  std::vector<Cursor> items() const;                                 // "ports[0]", "ports[1]", …
  std::vector<std::pair<std::string_view, Cursor>> members() const;  // by key, each at "data[key]"

  // How many causes there are already.
  size_t told() const { return causes_->size(); }
  void required(std::string_view detail = {}) const;
  void invalid(std::string_view detail) const;  // shows the value that is here, "" where there is none
  void invalid(const json::value& shown, std::string_view detail) const;
  void invalid_text(std::string_view shown, std::string_view detail) const;
  void invalid_omitted(std::string_view detail) const;  // shows no value
  void forbidden(std::string_view detail) const;
  void duplicate() const;
  void not_found(std::string_view detail = {}) const;
  void not_supported(std::initializer_list<std::string_view> supported) const;
  void not_supported(const json::value& shown, std::initializer_list<std::string_view> supported) const;
  void too_long(size_t limit) const;
  void too_many(size_t limit) const;

  // Invalid when there is a problem: port["name"].check(api::check_port_name(…)).
  bool check(const std::string& problem) const;
  bool in(std::initializer_list<std::string_view> list) const;
  // Required when empty, not supported when not of `list`.
  bool one_of(std::initializer_list<std::string_view> list) const;
  bool one_of_if_set(std::initializer_list<std::string_view> list) const;
  bool non_negative() const;  // an absent number is 0
  bool positive() const;
  bool between(int64_t low, int64_t high) const;  // "must be between LOW and HIGH, inclusive"
  bool port() const { return between(1, 65535); }
  // Invalid unless equal to `old`; absent and empty are the same.
  bool unchanged(const json::value* old, std::string_view detail = "field is immutable") const;
  // The same; `absent` is shown where nothing is: "" of a string, 0 of a number, null of what Go has a pointer to.
  bool unchanged_or(const json::value& absent, const json::value* old) const;

 private:
  const json::value* value_;
  std::string path_;
  std::vector<Cause>* causes_;
};

// Equal, where absent, null, "", [] and {} are the same.
bool same(const json::value* a, const json::value* b);

}  // namespace kcube::machinery
