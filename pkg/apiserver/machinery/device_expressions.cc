#include "pkg/apiserver/machinery/device_expressions.h"

#include "pkg/cel/program.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxSelectors = 32, kMaxExpression = 10 * 1024;
constexpr uint64_t kMaxAttributes = 32, kMaxDomain = 63, kMaxIdentifier = 32, kMaxValue = 64, kMaxCost = 1'000'000;

void validate_expression(const Cursor& expression) {
  if (expression.text().size() > kMaxExpression) return expression.too_long(kMaxExpression);
  auto program = cel::compile(expression.text(), device_environment());
  if (!program) return expression.invalid("compilation failed: " + program.error().message());
  if (!cel::returns(**program, *cel::Type::boolean()))
    return expression.invalid("must evaluate to bool or the unknown type, not " + (*program)->type()->to_string());
  if ((*program)->estimate().max > kMaxCost) expression.forbidden("too complex, exceeds cost limit");
}

}  // namespace

const cel::Environment& device_environment() {
  static const cel::Environment environment = [] {
    // By domain, and below that by identifier. How long they are counts for what an expression may cost.
    auto text = [](uint64_t size) { return cel::Type::limited(cel::Type::string(), size); };
    auto by_domain = [&](const cel::TypeRef& value) {
      return cel::Type::map(text(kMaxDomain), cel::Type::map(text(kMaxIdentifier), value, kMaxAttributes), kMaxAttributes);
    };
    cel::Environment e;
    e.declare("device", cel::Type::object("kubernetes.DRADevice", cel::make_fields({{"driver", text(kMaxDomain)},
                                                                                    {"attributes", by_domain(cel::Type::limited(cel::Type::dyn(), kMaxValue))},
                                                                                    {"capacity", by_domain(cel::Type::opaque("kubernetes.Quantity"))},
                                                                                    {"allowMultipleAllocations", cel::Type::boolean()}})));
    return e.enable_bindings();
  }();
  return environment;
}

void validate_device_selectors(const Cursor& selectors) {
  if (selectors.size() > kMaxSelectors) return selectors.too_many(kMaxSelectors);
  for (const Cursor& selector : selectors.items()) {
    if (selector["cel"].present()) validate_expression(selector["cel"]["expression"]);
    else selector["cel"].required();
  }
}

}  // namespace kcube::machinery
