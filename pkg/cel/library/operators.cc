// Operators: arithmetic, comparison, membership, size.
#include <cmath>

#include "pkg/cel/evaluator.h"
#include "pkg/cel/functions.h"
#include "pkg/cel/time.h"
#include "pkg/cel/type.h"

namespace kcube::cel {
namespace {

Value overflow(const Value& of) {
  return Value::failure(of.is(Kind::uint) ? "unsigned integer overflow" : of.is(Kind::duration) ? "duration overflow" : "integer overflow");
}

Value add_ints(Arguments a, const Node&) {
  int64_t out;
  return __builtin_add_overflow(a[0].as_integer(), a[1].as_integer(), &out) ? overflow(a[0]) : Value::integer(out);
}
Value add_uints(Arguments a, const Node&) {
  uint64_t out;
  return __builtin_add_overflow(a[0].as_uint(), a[1].as_uint(), &out) ? overflow(a[0]) : Value::uint(out);
}
Value add_numbers(Arguments a, const Node&) { return Value::number(a[0].as_number() + a[1].as_number()); }

template <Kind kind>
Value add_texts(Arguments a, const Node&) {
  std::string out;
  out.reserve(a[0].as_text().size() + a[1].as_text().size());
  out.append(a[0].as_text()).append(a[1].as_text());
  return kind == Kind::string ? Value::string(std::move(out)) : Value::bytes(std::move(out));
}

// What identifies an item of a list of type map: its keys' values.
bool same_keys(const Value& a, const Value& b, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    std::string name = escape_field(key).value_or(key);
    std::optional<Value> x = a.is(Kind::map) ? a.find(name) : std::nullopt, y = b.is(Kind::map) ? b.find(name) : std::nullopt;
    if (x.has_value() != y.has_value() || (x && !equal(*x, *y))) return false;
  }
  return true;
}

Value add_lists(Arguments a, const Node&) {
  std::vector<Value> items;
  items.reserve(a[0].size() + a[1].size());
  for (size_t i = 0; i < a[0].size(); ++i) items.push_back(a[0].at(i));
  const Type* type = a[0].declared_type();
  ListKind kind = type && type->kind() == TypeKind::list ? type->list_kind() : ListKind::atomic;
  size_t own = items.size();
  for (size_t i = 0; i < a[1].size(); ++i) {
    Value item = a[1].at(i);
    size_t k = 0;
    // A set keeps one of what is equal; a map's item replaces that of the same key.
    if (kind == ListKind::set) while (k < own && !equal(items[k], item)) ++k;
    else if (kind == ListKind::map) while (k < own && !same_keys(items[k], item, type->map_keys())) ++k;
    else k = own;
    if (k == own) items.push_back(std::move(item));
    else items[k] = std::move(item);
  }
  return Value::list(std::move(items));
}

Value add_durations(Arguments a, const Node&) {
  int64_t out;
  return __builtin_add_overflow(a[0].duration_nanoseconds(), a[1].duration_nanoseconds(), &out) ? overflow(a[0]) : Value::duration(out);
}

Value moved(const Value& timestamp, int64_t nanoseconds, bool back) {
  constexpr int64_t second = 1'000'000'000;
  __int128 total = static_cast<__int128>(timestamp.timestamp_seconds()) * second + timestamp.timestamp_nanoseconds();
  total += back ? -static_cast<__int128>(nanoseconds) : static_cast<__int128>(nanoseconds);
  __int128 seconds = total / second, rest = total % second;
  if (rest < 0) rest += second, --seconds;
  if (seconds < kMinTimestamp || seconds > kMaxTimestamp) return Value::failure("timestamp overflow");
  return Value::timestamp(static_cast<int64_t>(seconds), static_cast<uint32_t>(rest));
}
Value add_timestamp_duration(Arguments a, const Node&) { return moved(a[0], a[1].duration_nanoseconds(), false); }
Value add_duration_timestamp(Arguments a, const Node&) { return moved(a[1], a[0].duration_nanoseconds(), false); }
Value subtract_timestamp_duration(Arguments a, const Node&) { return moved(a[0], a[1].duration_nanoseconds(), true); }

Value subtract_timestamps(Arguments a, const Node&) {
  __int128 difference = static_cast<__int128>(a[0].timestamp_seconds() - a[1].timestamp_seconds()) * 1'000'000'000 +
                        (static_cast<int64_t>(a[0].timestamp_nanoseconds()) - static_cast<int64_t>(a[1].timestamp_nanoseconds()));
  if (difference > INT64_MAX || difference < INT64_MIN) return Value::failure("duration overflow");
  return Value::duration(static_cast<int64_t>(difference));
}

Value subtract_ints(Arguments a, const Node&) {
  int64_t out;
  return __builtin_sub_overflow(a[0].as_integer(), a[1].as_integer(), &out) ? overflow(a[0]) : Value::integer(out);
}
Value subtract_uints(Arguments a, const Node&) {
  return a[0].as_uint() < a[1].as_uint() ? overflow(a[0]) : Value::uint(a[0].as_uint() - a[1].as_uint());
}
Value subtract_numbers(Arguments a, const Node&) { return Value::number(a[0].as_number() - a[1].as_number()); }
Value subtract_durations(Arguments a, const Node&) {
  int64_t out;
  return __builtin_sub_overflow(a[0].duration_nanoseconds(), a[1].duration_nanoseconds(), &out) ? overflow(a[0]) : Value::duration(out);
}

Value multiply_ints(Arguments a, const Node&) {
  int64_t out;
  return __builtin_mul_overflow(a[0].as_integer(), a[1].as_integer(), &out) ? overflow(a[0]) : Value::integer(out);
}
Value multiply_uints(Arguments a, const Node&) {
  uint64_t out;
  return __builtin_mul_overflow(a[0].as_uint(), a[1].as_uint(), &out) ? overflow(a[0]) : Value::uint(out);
}
Value multiply_numbers(Arguments a, const Node&) { return Value::number(a[0].as_number() * a[1].as_number()); }

Value divide_ints(Arguments a, const Node&) {
  if (a[1].as_integer() == 0) return Value::failure("division by zero");
  if (a[0].as_integer() == INT64_MIN && a[1].as_integer() == -1) return overflow(a[0]);
  return Value::integer(a[0].as_integer() / a[1].as_integer());
}
Value divide_uints(Arguments a, const Node&) {
  return a[1].as_uint() == 0 ? Value::failure("division by zero") : Value::uint(a[0].as_uint() / a[1].as_uint());
}
Value divide_numbers(Arguments a, const Node&) { return Value::number(a[0].as_number() / a[1].as_number()); }

Value modulo_ints(Arguments a, const Node&) {
  if (a[1].as_integer() == 0) return Value::failure("modulus by zero");
  if (a[0].as_integer() == INT64_MIN && a[1].as_integer() == -1) return overflow(a[0]);
  return Value::integer(a[0].as_integer() % a[1].as_integer());
}
Value modulo_uints(Arguments a, const Node&) {
  return a[1].as_uint() == 0 ? Value::failure("modulus by zero") : Value::uint(a[0].as_uint() % a[1].as_uint());
}

Value negate_int(Arguments a, const Node&) {
  return a[0].as_integer() == INT64_MIN ? overflow(a[0]) : Value::integer(-a[0].as_integer());
}
Value negate_number(Arguments a, const Node&) { return Value::number(-a[0].as_number()); }
Value logical_not(Arguments a, const Node&) { return Value::boolean(!a[0].as_boolean()); }

Value equals(Arguments a, const Node&) { return Value::boolean(equal(a[0], a[1])); }
Value differs(Arguments a, const Node&) { return Value::boolean(!equal(a[0], a[1])); }

template <typename Test>
Value ordered(Arguments a, const Node& node, Test test) {
  std::optional<int> order = compare(a[0], a[1]);
  if (order) return Value::boolean(test(*order));
  bool numbers = a[0].is(Kind::number) || a[1].is(Kind::number);
  return numbers ? Value::failure("NaN values cannot be ordered") : no_such_overload(node, a);
}
Value less(Arguments a, const Node& n) { return ordered(a, n, [](int o) { return o < 0; }); }
Value less_or_equal(Arguments a, const Node& n) { return ordered(a, n, [](int o) { return o <= 0; }); }
Value greater(Arguments a, const Node& n) { return ordered(a, n, [](int o) { return o > 0; }); }
Value greater_or_equal(Arguments a, const Node& n) { return ordered(a, n, [](int o) { return o >= 0; }); }

Value in_list(Arguments a, const Node&) {
  for (size_t i = 0; i < a[1].size(); ++i) {
    if (equal(a[0], a[1].at(i))) return Value::boolean(true);
  }
  return Value::boolean(false);
}
Value in_map(Arguments a, const Node&) { return Value::boolean(a[1].find(a[0]).has_value()); }

Value size(Arguments a, const Node&) { return Value::integer(static_cast<int64_t>(a[0].size())); }

// The evaluator does these itself; the rows are for the checker.
Value unreachable(Arguments, const Node&) { return Value::failure("no such overload"); }

constexpr FunctionRow kRows[]{
    {"_?_:_", "(bool, A, A) A", unreachable},
    {"_&&_", "(bool, bool) bool", unreachable},
    {"_||_", "(bool, bool) bool", unreachable},
    {"@not_strictly_false", "(bool) bool", unreachable},
    {"_[_]", "(list(A), int) A", unreachable},
    {"_[_]", "(map(A, B), A) B", unreachable},
    {"_[_]", "(optional(list(A)), int) optional(A)", unreachable},
    {"_[_]", "(optional(map(A, B)), A) optional(B)", unreachable},
    {"_[?_]", "(list(A), int) optional(A)", unreachable},
    {"_[?_]", "(optional(list(A)), int) optional(A)", unreachable},
    {"_[?_]", "(map(A, B), A) optional(B)", unreachable},
    {"_[?_]", "(optional(map(A, B)), A) optional(B)", unreachable},
    {"cel.@mapInsert", "(map(A, B), A, B) map(A, B)", unreachable},
    {"cel.@mapInsert", "(map(A, B), map(A, B)) map(A, B)", unreachable},
    {"!_", "(bool) bool", logical_not},
    {"_==_", "(A, A) bool", equals, CostRule::equality},
    {"_!=_", "(A, A) bool", differs, CostRule::equality},
    {"_+_", "(bytes, bytes) bytes", add_texts<Kind::bytes>, CostRule::add_text},
    {"_+_", "(double, double) double", add_numbers},
    {"_+_", "(duration, duration) duration", add_durations},
    {"_+_", "(duration, timestamp) timestamp", add_duration_timestamp},
    {"_+_", "(timestamp, duration) timestamp", add_timestamp_duration},
    {"_+_", "(int, int) int", add_ints},
    {"_+_", "(list(A), list(A)) list(A)", add_lists, CostRule::add_list},
    {"_+_", "(string, string) string", add_texts<Kind::string>, CostRule::add_text},
    {"_+_", "(uint, uint) uint", add_uints},
    {"_/_", "(double, double) double", divide_numbers},
    {"_/_", "(int, int) int", divide_ints},
    {"_/_", "(uint, uint) uint", divide_uints},
    {"_%_", "(int, int) int", modulo_ints},
    {"_%_", "(uint, uint) uint", modulo_uints},
    {"_*_", "(double, double) double", multiply_numbers},
    {"_*_", "(int, int) int", multiply_ints},
    {"_*_", "(uint, uint) uint", multiply_uints},
    {"-_", "(double) double", negate_number},
    {"-_", "(int) int", negate_int},
    {"_-_", "(double, double) double", subtract_numbers},
    {"_-_", "(duration, duration) duration", subtract_durations},
    {"_-_", "(int, int) int", subtract_ints},
    {"_-_", "(timestamp, duration) timestamp", subtract_timestamp_duration},
    {"_-_", "(timestamp, timestamp) duration", subtract_timestamps},
    {"_-_", "(uint, uint) uint", subtract_uints},
    {"@in", "(A, list(A)) bool", in_list, CostRule::in_list},
    {"@in", "(A, map(A, B)) bool", in_map},
    {"size", "(bytes) int", size}, {"size", ".(bytes) int", size},
    {"size", "(list(A)) int", size}, {"size", ".(list(A)) int", size},
    {"size", "(map(A, B)) int", size}, {"size", ".(map(A, B)) int", size},
    {"size", "(string) int", size}, {"size", ".(string) int", size},
};

struct Comparison {
  std::string_view name;
  Implementation run;
};
constexpr Comparison kComparisons[]{{"_<_", less}, {"_<=_", less_or_equal}, {"_>_", greater}, {"_>=_", greater_or_equal}};
constexpr std::string_view kOrdered[]{"(bool, bool) bool", "(int, int) bool", "(int, double) bool", "(int, uint) bool", "(uint, uint) bool",
                                      "(uint, double) bool", "(uint, int) bool", "(double, double) bool", "(double, int) bool",
                                      "(double, uint) bool", "(timestamp, timestamp) bool", "(duration, duration) bool"};

}  // namespace

std::span<const FunctionRow> operator_functions() {
  static const std::vector<FunctionRow> rows = [] {
    std::vector<FunctionRow> out(std::begin(kRows), std::end(kRows));
    for (const Comparison& c : kComparisons) {
      for (std::string_view signature : kOrdered) out.push_back({c.name, signature, c.run});
      out.push_back({c.name, "(string, string) bool", c.run, CostRule::order});
      out.push_back({c.name, "(bytes, bytes) bool", c.run, CostRule::order});
    }
    return out;
  }();
  return rows;
}

}  // namespace kcube::cel
