// Typed views: how C++ code reads API objects. `core::v1::Pod pod(object->value()); pod.spec().node_name()`.
//
// A view is a pointer into a json::value that must outlive it; copying is free. Whatever is absent or of another type
// reads as empty (zero, "", no elements), so paths need no checks on the way. The classes are generated from the schema
// into pkg/api/views/<group>_<version>.h.
#pragma once

#include <iterator>
#include <string_view>
#include <utility>

#include "pkg/api/json.h"

namespace kcube::api::views {

class View {
 public:
  View() = default;
  View(const json::value* value) : value_(value) {}
  View(const json::value& value) : value_(&value) {}
  // The JSON behind it, null when absent.
  const json::value* json() const { return value_; }
  explicit operator bool() const { return value_ != nullptr && !value_->is_null(); }

 protected:
  const json::value* member(std::string_view name) const { return json::find(value_, name); }
  bool present(std::string_view name) const {
    const json::value* v = member(name);
    return v != nullptr && !v->is_null();
  }
  std::string_view string_at(std::string_view name) const { return json::get_string(member(name)); }
  int64_t int_at(std::string_view name, int64_t fallback) const { return json::get_int(member(name), fallback); }
  double double_at(std::string_view name, double fallback) const { return json::get_double(member(name), fallback); }
  bool bool_at(std::string_view name, bool fallback) const { return json::get_bool(member(name), fallback); }
  const json::object& object_at(std::string_view name) const { return json::get_object(member(name)); }
  const json::array& array_at(std::string_view name) const { return json::get_array(member(name)); }

 private:
  const json::value* value_ = nullptr;
};

// How an element of a list or map reads: a view of it, or its text.
template <typename T>
struct Element {
  static T read(const json::value* at) { return T(at); }
};
template <>
struct Element<std::string_view> {
  static std::string_view read(const json::value* at) { return json::get_string(at); }
};
template <>
struct Element<std::pair<std::string_view, std::string_view>> {
  static std::pair<std::string_view, std::string_view> read(const json::object::value_type* at) {
    return {json::view(at->key()), json::get_string(&at->value())};
  }
};

// Walks elements that lie in a row (`Stored`) and reads each as a T.
template <typename T, typename Stored>
class Iterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = const T*;
  using reference = T;
  Iterator() = default;
  explicit Iterator(const Stored* at) : at_(at) {}
  T operator*() const { return Element<T>::read(at_); }
  Iterator& operator++() {
    ++at_;
    return *this;
  }
  Iterator operator++(int) {
    auto old = *this;
    ++at_;
    return old;
  }
  bool operator==(const Iterator&) const = default;

 private:
  const Stored* at_ = nullptr;
};

// A list of messages (views) or of strings.
template <typename T>
class ListView {
 public:
  using iterator = Iterator<T, json::value>;
  explicit ListView(const json::value* value) : array_(&json::get_array(value)) {}
  iterator begin() const { return iterator(array_->begin()); }
  iterator end() const { return iterator(array_->end()); }
  size_t size() const { return array_->size(); }
  bool empty() const { return array_->empty(); }
  T operator[](size_t i) const { return Element<T>::read(&(*array_)[i]); }

 private:
  const json::array* array_;
};
using StringList = ListView<std::string_view>;

// A map of strings.
class StringMap {
 public:
  using iterator = Iterator<std::pair<std::string_view, std::string_view>, json::object::value_type>;
  explicit StringMap(const json::value* value) : object_(&json::get_object(value)) {}
  iterator begin() const { return iterator(object_->begin()); }
  iterator end() const { return iterator(object_->end()); }
  size_t size() const { return object_->size(); }
  bool empty() const { return object_->empty(); }
  bool contains(std::string_view name) const { return object_->contains(json::key(name)); }
  std::string_view get(std::string_view name, std::string_view fallback = {}) const {
    return json::get_string(object_->if_contains(json::key(name)), fallback);
  }

 private:
  const json::object* object_;
};

}  // namespace kcube::api::views
