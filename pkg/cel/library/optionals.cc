// optional.of() and what optionals offer. or() and orValue() are the evaluator's own: they need not evaluate both sides.
#include "pkg/cel/functions.h"

namespace kcube::cel {
namespace {

bool zero(const Value& v) {
  switch (v.kind()) {
    case Kind::null: return true;
    case Kind::boolean: return !v.as_boolean();
    case Kind::integer: return v.as_integer() == 0;
    case Kind::uint: return v.as_uint() == 0;
    case Kind::number: return v.as_number() == 0;
    case Kind::string: case Kind::bytes: return v.as_text().empty();
    case Kind::list: case Kind::map: return v.size() == 0;
    case Kind::duration: return v.duration_nanoseconds() == 0;
    case Kind::optional: return !v.contained() || zero(*v.contained());
    default: return false;
  }
}

Value of(Arguments a, const Node&) { return Value::optional(a[0]); }
Value of_non_zero(Arguments a, const Node&) { return zero(a[0]) ? Value::none() : Value::optional(a[0]); }
Value none(Arguments, const Node&) { return Value::none(); }
Value value(Arguments a, const Node&) { return a[0].contained() ? Value(*a[0].contained()) : Value::failure("optional.none() dereference"); }
Value has_value(Arguments a, const Node&) { return Value::boolean(a[0].contained() != nullptr); }
Value own(Arguments, const Node&) { return Value::failure("no such overload"); }

Value first(Arguments a, const Node&) { return a[0].size() == 0 ? Value::none() : Value::optional(a[0].at(0)); }
Value last(Arguments a, const Node&) { return a[0].size() == 0 ? Value::none() : Value::optional(a[0].at(a[0].size() - 1)); }

Value unwrap(Arguments a, const Node&) {
  std::vector<Value> items;
  for (size_t i = 0; i < a[0].size(); ++i) {
    Value item = a[0].at(i);
    if (!item.is(Kind::optional)) return Value::failure("value " + item.dynamic_type().name() + " is not optional");
    if (item.contained()) items.push_back(*item.contained());
  }
  return Value::list(std::move(items));
}

constexpr FunctionRow kRows[]{
    {"optional.of", "(A) optional(A)", of},
    {"optional.ofNonZeroValue", "(A) optional(A)", of_non_zero},
    {"optional.none", "() optional(A)", none},
    {"value", ".(optional(A)) A", value},
    {"hasValue", ".(optional(A)) bool", has_value},
    {"or", ".(optional(A), optional(A)) optional(A)", own},
    {"orValue", ".(optional(A), A) A", own},
    {"first", ".(list(A)) optional(A)", first},
    {"last", ".(list(A)) optional(A)", last},
    {"optional.unwrap", "(list(optional(A))) list(A)", unwrap},
    {"unwrapOpt", ".(list(optional(A))) list(A)", unwrap},
};

}  // namespace

std::span<const FunctionRow> optional_functions() { return kRows; }

}  // namespace kcube::cel
