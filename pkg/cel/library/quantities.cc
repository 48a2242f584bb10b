// quantity() and its arithmetic.
#include "pkg/api/quantity.h"
#include "pkg/cel/functions.h"

namespace kcube::cel {

const TypeRef& quantity_type() {
  static const TypeRef type = Type::opaque("kubernetes.Quantity");
  return type;
}

namespace {

class QuantityValue final : public Opaque {
 public:
  QuantityValue(api::Quantity quantity, bool scaled) : quantity(quantity), scaled(scaled) {}
  const Type& type() const override { return *quantity_type(); }
  bool equals(const Opaque& other) const override { return quantity == static_cast<const QuantityValue&>(other).quantity; }
  const api::Quantity quantity;
  const bool scaled;                         // written with fractions ("1.0", "1000m"): no integer to the real server, whatever its value
};

const api::Quantity& of(const Value& v) { return v.opaque_as<QuantityValue>()->quantity; }
int order(Arguments a) { return of(a[0]) < of(a[1]) ? -1 : of(a[0]) > of(a[1]) ? 1 : 0; }

Value make(Arguments a, const Node&) {
  auto quantity = api::Quantity::parse(a[0].as_text());
  bool scaled = a[0].as_text().find_first_of(".mnu") != std::string_view::npos;
  return quantity ? Value::opaque(new QuantityValue(*quantity, scaled)) : Value::failure(quantity.error().message());
}
Value is_quantity(Arguments a, const Node&) { return Value::boolean(api::Quantity::parse(a[0].as_text()).has_value()); }
Value sign(Arguments a, const Node&) { return Value::integer(of(a[0]).zero() ? 0 : of(a[0]) < api::Quantity() ? -1 : 1); }
bool whole(const Value& v) {
  const auto* q = v.opaque_as<QuantityValue>();
  return !q->scaled && q->quantity.value() != INT64_MAX && api::Quantity::from_int(q->quantity.value()) == q->quantity;
}
Value is_integer(Arguments a, const Node&) { return Value::boolean(whole(a[0])); }
Value as_integer(Arguments a, const Node&) {
  return whole(a[0]) ? Value::integer(of(a[0]).value()) : Value::failure("cannot convert value to integer");
}
Value as_float(Arguments a, const Node&) { return Value::number(of(a[0]).approximate()); }
Value compare_to(Arguments a, const Node&) { return Value::integer(order(a)); }
Value greater(Arguments a, const Node&) { return Value::boolean(order(a) > 0); }
Value less(Arguments a, const Node&) { return Value::boolean(order(a) < 0); }

template <bool minus>
Value add(Arguments a, const Node&) {
  api::Quantity out = of(a[0]), other = a[1].is(Kind::integer) ? api::Quantity::from_int(a[1].as_integer()) : of(a[1]);
  if (minus) out -= other;
  else out += other;
  bool scaled = a[0].opaque_as<QuantityValue>()->scaled || (a[1].is(Kind::opaque) && a[1].opaque_as<QuantityValue>()->scaled);
  return Value::opaque(new QuantityValue(out, scaled));
}

constexpr FunctionRow kRows[]{
    {"quantity", "(string) quantity", make, CostRule::traverse},
    {"isQuantity", "(string) bool", is_quantity, CostRule::traverse},
    {"sign", ".(quantity) int", sign},
    {"isGreaterThan", ".(quantity, quantity) bool", greater},
    {"isLessThan", ".(quantity, quantity) bool", less},
    {"compareTo", ".(quantity, quantity) int", compare_to},
    {"asApproximateFloat", ".(quantity) double", as_float},
    {"asInteger", ".(quantity) int", as_integer},
    {"isInteger", ".(quantity) bool", is_integer},
    {"add", ".(quantity, quantity) quantity", add<false>},
    {"add", ".(quantity, int) quantity", add<false>},
    {"sub", ".(quantity, quantity) quantity", add<true>},
    {"sub", ".(quantity, int) quantity", add<true>},
};

}  // namespace

std::span<const FunctionRow> quantity_functions() { return kRows; }

}  // namespace kcube::cel
