// sets.contains, sets.equivalent and sets.intersects over lists.
#include "pkg/cel/functions.h"

namespace kcube::cel {
namespace {

bool has(const Value& list, const Value& item) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (equal(list.at(i), item)) return true;
  }
  return false;
}
bool has_all(const Value& list, const Value& items) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (!has(list, items.at(i))) return false;
  }
  return true;
}

Value contains(Arguments a, const Node&) { return Value::boolean(has_all(a[0], a[1])); }
Value equivalent(Arguments a, const Node&) { return Value::boolean(has_all(a[0], a[1]) && has_all(a[1], a[0])); }
Value intersects(Arguments a, const Node&) {
  for (size_t i = 0; i < a[0].size(); ++i) {
    if (has(a[1], a[0].at(i))) return Value::boolean(true);
  }
  return Value::boolean(false);
}

constexpr FunctionRow kRows[]{
    {"sets.contains", "(list(A), list(A)) bool", contains, CostRule::sets},
    {"sets.equivalent", "(list(A), list(A)) bool", equivalent, CostRule::sets_twice},
    {"sets.intersects", "(list(A), list(A)) bool", intersects, CostRule::sets},
};

}  // namespace

std::span<const FunctionRow> set_functions() { return kRows; }

}  // namespace kcube::cel
