// Lists: Kubernetes' own (isSorted, sum, min, max, indexOf, lastIndexOf) and the lists extension (version 3).
#include <algorithm>
#include <array>

#include "pkg/cel/functions.h"
#include "pkg/cel/library/text.h"

namespace kcube::cel {
namespace {

Value is_sorted(Arguments a, const Node&) {
  for (size_t i = 1; i < a[0].size(); ++i) {
    std::optional<int> order = compare(a[0].at(i - 1), a[0].at(i));
    if (!order) return Value::failure("no such overload");
    if (*order > 0) return Value::boolean(false);
  }
  return Value::boolean(true);
}

template <int sign>
Value extreme(Arguments a, const Node&) {
  if (a[0].size() == 0) return Value::failure(sign < 0 ? "min called on empty list" : "max called on empty list");
  Value best = a[0].at(0);
  for (size_t i = 1; i < a[0].size(); ++i) {
    Value item = a[0].at(i);
    std::optional<int> order = compare(item, best);
    if (!order) return Value::failure("no such overload");
    if (*order * sign > 0) best = std::move(item);
  }
  return best;
}

Value sum_ints(Arguments a, const Node&) {
  int64_t total = 0;
  for (size_t i = 0; i < a[0].size(); ++i) {
    Value item = a[0].at(i);
    if (!item.is(Kind::integer)) return Value::failure("no such overload");
    if (__builtin_add_overflow(total, item.as_integer(), &total)) return Value::failure("integer overflow");
  }
  return Value::integer(total);
}
Value sum_uints(Arguments a, const Node&) {
  uint64_t total = 0;
  for (size_t i = 0; i < a[0].size(); ++i) {
    Value item = a[0].at(i);
    if (!item.is(Kind::uint)) return Value::failure("no such overload");
    if (__builtin_add_overflow(total, item.as_uint(), &total)) return Value::failure("unsigned integer overflow");
  }
  return Value::uint(total);
}
Value sum_numbers(Arguments a, const Node&) {
  double total = 0;
  for (size_t i = 0; i < a[0].size(); ++i) {
    Value item = a[0].at(i);
    if (!item.is(Kind::number)) return Value::failure("no such overload");
    total += item.as_number();
  }
  return Value::number(total);
}
Value sum_durations(Arguments a, const Node&) {
  int64_t total = 0;
  for (size_t i = 0; i < a[0].size(); ++i) {
    Value item = a[0].at(i);
    if (!item.is(Kind::duration)) return Value::failure("no such overload");
    if (__builtin_add_overflow(total, item.duration_nanoseconds(), &total)) return Value::failure("duration overflow");
  }
  return Value::duration(total);
}

Value index_of(Arguments a, const Node&) {
  for (size_t i = 0; i < a[0].size(); ++i) {
    if (equal(a[0].at(i), a[1])) return Value::integer(static_cast<int64_t>(i));
  }
  return Value::integer(-1);
}
Value last_index_of(Arguments a, const Node&) {
  for (size_t i = a[0].size(); i-- > 0; ) {
    if (equal(a[0].at(i), a[1])) return Value::integer(static_cast<int64_t>(i));
  }
  return Value::integer(-1);
}

Value slice(Arguments a, const Node&) {
  int64_t start = a[1].as_integer(), end = a[2].as_integer(), size = static_cast<int64_t>(a[0].size());
  std::string range = "cannot slice(" + std::to_string(start) + ", " + std::to_string(end) + "), ";
  if (start < 0 || end < 0) return Value::failure(range + "negative indexes not supported");
  if (start > end) return Value::failure(range + "start index must be less than or equal to end index");
  if (size < end) return Value::failure(range + "list is length " + std::to_string(size));
  std::vector<Value> items;
  for (int64_t i = start; i < end; ++i) items.push_back(a[0].at(static_cast<size_t>(i)));
  return Value::list(std::move(items));
}

void flatten_into(std::vector<Value>& out, const Value& list, int64_t depth) {
  for (size_t i = 0; i < list.size(); ++i) {
    Value item = list.at(i);
    if (item.is(Kind::list) && depth > 0) flatten_into(out, item, depth - 1);
    else out.push_back(std::move(item));
  }
}
Value flatten(Arguments a, const Node&) {
  int64_t depth = a.size() == 2 ? a[1].as_integer() : 1;
  if (depth < 0) return Value::failure("level must be non-negative");
  std::vector<Value> items;
  flatten_into(items, a[0], depth);
  return Value::list(std::move(items));
}

// The order of `keys`, which are all of one comparable kind, or what is wrong.
Value sorted_order(const Value& keys, std::vector<size_t>& order) {
  order.resize(keys.size());
  std::vector<Value> items;
  for (size_t i = 0; i < keys.size(); ++i) {
    order[i] = i;
    items.push_back(keys.at(i));
    if (!compare(items[i], items[i])) return Value::failure("list elements must be comparable");
    if (items[i].kind() != items[0].kind()) return Value::failure("list elements must have the same type");
  }
  std::ranges::stable_sort(order, [&](size_t x, size_t y) { return compare(items[x], items[y]).value_or(0) < 0; });
  return {};
}
Value sort_by(const Value& list, const Value& keys) {
  if (list.size() != keys.size()) {
    return Value::failure("@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got " +
                          std::to_string(list.size()) + " and " + std::to_string(keys.size()) + " elements respectively");
  }
  std::vector<size_t> order;
  if (Value error = sorted_order(keys, order); error.is_error()) return error;
  std::vector<Value> items;
  for (size_t i : order) items.push_back(list.at(i));
  return Value::list(std::move(items));
}
Value sort(Arguments a, const Node&) { return sort_by(a[0], a[0]); }
Value sort_by_keys(Arguments a, const Node&) { return sort_by(a[0], a[1]); }

Value range(Arguments a, const Node&) {
  std::vector<Value> items;
  for (int64_t i = 0; i < a[0].as_integer(); ++i) items.push_back(Value::integer(i));
  return Value::list(std::move(items));
}

Value reverse(Arguments a, const Node&) {
  std::vector<Value> items;
  for (size_t i = a[0].size(); i-- > 0; ) items.push_back(a[0].at(i));
  return Value::list(std::move(items));
}

Value distinct(Arguments a, const Node&) {
  std::vector<Value> items;
  for (size_t i = 0; i < a[0].size(); ++i) {
    Value item = a[0].at(i);
    if (std::ranges::none_of(items, [&](const Value& known) { return equal(known, item); })) items.push_back(std::move(item));
  }
  return Value::list(std::move(items));
}

constexpr FunctionRow kRows[]{
    {"sum", ".(list(int)) int", sum_ints, CostRule::walk_list},
    {"sum", ".(list(uint)) uint", sum_uints, CostRule::walk_list},
    {"sum", ".(list(double)) double", sum_numbers, CostRule::walk_list},
    {"sum", ".(list(duration)) duration", sum_durations, CostRule::walk_list},
    {"indexOf", ".(list(A), A) int", index_of, CostRule::walk_list},
    {"lastIndexOf", ".(list(A), A) int", last_index_of, CostRule::walk_list},
    {"slice", ".(list(A), int, int) list(A)", slice, CostRule::slice},
    {"flatten", ".(list(list(A))) list(A)", flatten, CostRule::flatten},
    {"flatten", ".(list(dyn), int) list(dyn)", flatten, CostRule::flatten},
    {"lists.range", "(int) list(int)", range, CostRule::range},
    {"reverse", ".(list(A)) list(A)", reverse, CostRule::slice},
    {"distinct", ".(list(A)) list(A)", distinct, CostRule::distinct},
};

constexpr std::array<std::string_view, 8> kComparable{"int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"};

}  // namespace

std::span<const FunctionRow> list_functions() {
  // Signatures for each comparable type; kept for as long as the program runs.
  static const std::vector<std::string> signatures = [] {
    std::vector<std::string> out;
    for (std::string_view type : kComparable) {
      std::string t(type);
      out.push_back(".(list(" + t + ")) bool");
      out.push_back(".(list(" + t + ")) " + t);
      out.push_back(".(list(" + t + ")) list(" + t + ")");
      out.push_back(".(list(A), list(" + t + ")) list(A)");
    }
    return out;
  }();
  static const std::vector<FunctionRow> rows = [] {
    std::vector<FunctionRow> out(std::begin(kRows), std::end(kRows));
    for (size_t i = 0; i < signatures.size(); i += 4) {
      out.push_back({"isSorted", signatures[i], is_sorted, CostRule::walk_list});
      out.push_back({"min", signatures[i + 1], extreme<-1>, CostRule::walk_list});
      out.push_back({"max", signatures[i + 1], extreme<1>, CostRule::walk_list});
      out.push_back({"sort", signatures[i + 2], sort, CostRule::sort});
      out.push_back({"@sortByAssociatedKeys", signatures[i + 3], sort_by_keys, CostRule::sort});
    }
    return out;
  }();
  return rows;
}

}  // namespace kcube::cel
