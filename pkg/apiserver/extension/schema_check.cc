#include "pkg/apiserver/extension/schema_check.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "pkg/api/errors.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::extension {
namespace {

std::string_view type_of(const json::value& v) {
  if (v.is_null()) return "null";
  if (v.is_bool()) return "boolean";
  if (v.is_string()) return "string";
  if (v.is_array()) return "array";
  if (v.is_object()) return "object";
  return v.is_double() ? "number" : "integer";
}

bool is_integral(const json::value& v) { return !v.is_double() || v.get_double() == std::floor(v.get_double()); }

// As Go prints a float with %v.
std::string number_text(double d) {
  if (d == std::floor(d) && std::abs(d) < 1e21) {
    char buffer[400];
    auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::fixed).ptr;
    return {buffer, end};
  }
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, d).ptr;
  return {buffer, end};
}

size_t characters(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// What violates a schema, at the root (path ".") or beneath it.
class Checker {
 public:
  explicit Checker(std::vector<Cause>& causes) : causes_(causes) {}

  void check(const Structural& s, const json::value& v, const json::value* old, const std::string& path) {
    if (old != nullptr && *old == v) return;
    ++visited_;
    check_type(s, v, path);
    if (v.is_null()) {
      check_enum(s, v, path);
      return;
    }
    check_logic(s, v, path);
    if (v.is_string()) check_string(s, json::view(v.get_string()), v, path);
    if (v.is_number()) check_number(s, v, path);
    if (v.is_array()) check_list(s, v, old, path);
    check_enum(s, v, path);
    if (v.is_object()) check_object(s, v, old, path);
  }

 private:
  void invalid(const std::string& path, const json::value& shown, const std::string& text) { causes_.push_back(api::field_invalid(path, shown, path + " in body " + text)); }

  void check_type(const Structural& s, const json::value& v, const std::string& path) {
    std::string_view actual = type_of(v);
    std::string wanted = s.int_or_string ? "integer,string" : s.type;
    if (wanted.empty()) return;
    if (v.is_null()) {
      if (!s.nullable) mismatch(path, wanted, actual);
      return;
    }
    if (s.int_or_string ? actual == "integer" || actual == "string" || (actual == "number" && is_integral(v)) : actual == wanted) return;
    if (wanted == "number" && actual == "integer") return;
    if (wanted == "integer" && actual == "number" && is_integral(v)) return;
    mismatch(path, wanted, actual);
  }

  void mismatch(const std::string& path, std::string_view wanted, std::string_view actual) {
    std::string text = path + " in body must be of type " + std::string(wanted) + ": \"" + std::string(actual) + "\"";
    causes_.push_back(api::field_type_invalid(path, json::value(json::key(actual)), text));
  }

  struct Attempt {
    std::vector<Cause> causes;
    size_t visited = 0;
  };
  static Attempt attempt(const Structural& s, const json::value& v, const std::string& path) {
    Attempt a;
    Checker checker(a.causes);
    checker.check(s, v, nullptr, path);
    a.visited = checker.visited_;
    return a;
  }

  // The branch that got furthest speaks for all, the first of equals.
  static void keep_best(Attempt& best, Attempt other) {
    if (best.visited == 0 || other.visited > best.visited) best = std::move(other);
  }

  void root_invalid(const std::string& text) { causes_.push_back(api::field_invalid("<nil>", json::value(""), text)); }

  void check_logic(const Structural& s, const json::value& v, const std::string& path) {
    std::string quoted = "\"" + path + "\"";
    if (!s.any_of.empty()) {
      Attempt best;
      bool any = false;
      for (const Structural& part : s.any_of) {
        Attempt one = attempt(part, v, path);
        any = any || one.causes.empty();
        keep_best(best, std::move(one));
      }
      if (!any) {
        root_invalid(quoted + " must validate at least one schema (anyOf)");
        add(best.causes);
      }
    }
    if (!s.one_of.empty()) {
      Attempt best;
      size_t valid = 0;
      for (const Structural& part : s.one_of) {
        Attempt one = attempt(part, v, path);
        valid += one.causes.empty();
        if (!one.causes.empty()) keep_best(best, std::move(one));
      }
      if (valid != 1) {
        root_invalid(quoted + " must validate one and only one schema (oneOf). " + (valid == 0 ? std::string("Found none valid") : "Found " + std::to_string(valid) + " valid alternatives"));
        if (valid == 0) add(best.causes);
      }
    }
    if (!s.all_of.empty()) {
      size_t valid = 0;
      std::vector<Cause> all;
      for (const Structural& part : s.all_of) {
        Attempt one = attempt(part, v, path);
        valid += one.causes.empty();
        all.insert(all.end(), one.causes.begin(), one.causes.end());
      }
      add(all);
      if (valid != s.all_of.size()) root_invalid(quoted + " must validate all the schemas (allOf)" + (valid == 0 ? ". None validated" : ""));
    }
    if (s.negated && attempt(*s.negated, v, path).causes.empty()) root_invalid(quoted + " must not validate the schema (not)");
  }

  void add(const std::vector<Cause>& found) { causes_.insert(causes_.end(), found.begin(), found.end()); }

  void check_string(const Structural& s, std::string_view text, const json::value& v, const std::string& path) {
    size_t length = s.max_length || s.min_length ? characters(text) : 0;
    if (s.max_length && static_cast<int64_t>(length) > *s.max_length) causes_.push_back(api::field_too_long(path, static_cast<size_t>(*s.max_length)));
    if (s.min_length && static_cast<int64_t>(length) < *s.min_length) invalid(path, v, "should be at least " + std::to_string(*s.min_length) + " chars long");
    if (s.regex && !s.regex->matches(text)) invalid(path, v, "should match '" + s.pattern + "'");
    if (!s.format.empty() && !fits_format(s.format, text)) {
      std::string words = path + " in body must be of type " + s.format + ": \"" + std::string(text) + "\"";
      causes_.push_back(api::field_type_invalid(path, v, words));
    }
  }

  void check_number(const Structural& s, const json::value& v, const std::string& path) {
    double d = json::get_double(&v);
    if (s.multiple_of && *s.multiple_of > 0) {
      double quotient = d / *s.multiple_of;
      if (quotient != std::floor(quotient)) invalid(path, v, "should be a multiple of " + number_text(*s.multiple_of));
    }
    if (s.maximum && (s.exclusive_maximum ? d >= *s.maximum : d > *s.maximum))
      invalid(path, v, (s.exclusive_maximum ? "should be less than " : "should be less than or equal to ") + number_text(*s.maximum));
    if (s.minimum && (s.exclusive_minimum ? d <= *s.minimum : d < *s.minimum))
      invalid(path, v, (s.exclusive_minimum ? "should be greater than " : "should be greater than or equal to ") + number_text(*s.minimum));
  }

  void check_list(const Structural& s, const json::value& v, const json::value* old, const std::string& path) {
    const json::array& list = v.get_array();
    if (s.items) {
      size_t i = 0;
      for (const json::value& item : list) check(*s.items, item, counterpart(s, item, old), path + "[" + std::to_string(i++) + "]");
    }
    auto size = static_cast<int64_t>(list.size());
    if (s.min_items && size < *s.min_items) invalid(path, json::value(size), "should have at least " + std::to_string(*s.min_items) + " items");
    if (s.max_items && size > *s.max_items) causes_.push_back(api::field_too_many(path, list.size(), static_cast<size_t>(*s.max_items)));
  }

  void check_enum(const Structural& s, const json::value& v, const std::string& path) {
    if (s.enumeration.empty() || std::ranges::find(s.enumeration, v) != s.enumeration.end()) return;
    std::vector<std::string> texts;
    for (const json::value& one : s.enumeration) texts.push_back(one.is_string() ? std::string(json::view(one.get_string())) : json::serialize(one));
    std::vector<std::string_view> views(texts.begin(), texts.end());
    causes_.push_back(api::field_not_supported(path, v, views));
  }

  void check_object(const Structural& s, const json::value& v, const json::value* old, const std::string& path) {
    const json::object& object = v.get_object();
    std::string prefix = path.empty() || path == "." ? "" : path + ".";
    auto size = static_cast<int64_t>(object.size());
    if (s.min_properties && size < *s.min_properties) invalid(path, json::value(size), "should have at least " + std::to_string(*s.min_properties) + " properties");
    if (s.max_properties && size > *s.max_properties) causes_.push_back(api::field_too_many(path, object.size(), static_cast<size_t>(*s.max_properties)));
    for (const std::string& name : s.required)
      if (!object.contains(name)) causes_.push_back(api::field_required(prefix + name));
    for (const auto& m : object) {
      const Structural* part = s.member(json::view(m.key()));
      const json::value* before = old == nullptr ? nullptr : json::find(old, json::view(m.key()));
      if (part != nullptr) check(*part, m.value(), before, prefix + std::string(m.key()));
    }
  }

  std::vector<Cause>& causes_;
  size_t visited_ = 0;   // values that a schema was asked about
};

}  // namespace

const json::value* counterpart(const Structural& list_schema, const json::value& item, const json::value* old) {
  if (old == nullptr || list_schema.list_type != "map") return nullptr;
  for (const json::value& other : json::get_array(old)) {
    bool same = std::ranges::all_of(list_schema.list_map_keys, [&](const std::string& key) {
      const json::value *a = json::find(&item, key), *b = json::find(&other, key);
      return a != nullptr && b != nullptr ? *a == *b : a == b;
    });
    if (same) return &other;
  }
  return nullptr;
}

std::vector<Cause> check_schema(const Structural& schema, const json::value& value, const json::value* old) {
  std::vector<Cause> causes;
  Checker(causes).check(schema, value, old, "");
  return causes;
}

}  // namespace kcube::apiserver::extension
