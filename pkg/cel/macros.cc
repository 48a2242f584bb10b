// Macros: calls that stand for a larger tree. The trees are cel-go's, because costs are counted on them.
#include <array>

#include "pkg/cel/parser.h"

namespace kcube::cel {
namespace {

struct Context {
  Node& call;
  Issues& issues;
  uint32_t position;

  NodePtr argument(size_t i) { return std::move(call.args[i]); }
  NodePtr ident(std::string_view name) const { return Node::make(NodeKind::ident, position, std::string(name)); }
  NodePtr accumulator() const { return ident(kAccumulator); }
  NodePtr boolean(bool b) const { return make_literal(position, Value::boolean(b)); }
  NodePtr integer(int64_t i) const { return make_literal(position, Value::integer(i)); }
  NodePtr list_of(NodePtr item) const {
    NodePtr list = Node::make(NodeKind::list, position);
    if (item) list->args.push_back(std::move(item)), list->optional.push_back(false);
    return list;
  }
  // The name that argument `i` gives to an iteration variable; empty after a report.
  std::string variable(size_t i) {
    const Node& node = *call.args[i];
    if (node.kind != NodeKind::ident) return issues.report(node.position, "argument must be a simple name"), "";
    if (node.name == kAccumulator || node.name == "__result__") return issues.report(node.position, "iteration variable overwrites accumulator variable"), "";
    return node.name;
  }
  NodePtr fold(std::string iterator, std::string iterator2, NodePtr range, std::string accumulator, NodePtr initial, NodePtr condition, NodePtr step,
               NodePtr result) const {
    NodePtr node = Node::make(NodeKind::fold, position);
    node->iterator = std::move(iterator), node->iterator2 = std::move(iterator2), node->accumulator = std::move(accumulator);
    for (NodePtr* part : {&range, &initial, &condition, &step, &result}) node->args.push_back(std::move(*part));
    return node;
  }
  NodePtr fold(std::string iterator, std::string iterator2, NodePtr initial, NodePtr condition, NodePtr step, NodePtr result) {
    return fold(std::move(iterator), std::move(iterator2), argument(0), std::string(kAccumulator), std::move(initial), std::move(condition), std::move(step),
                std::move(result));
  }
  // Names a value: a fold over nothing.
  NodePtr bind(std::string name, NodePtr value, NodePtr body) const {
    NodePtr again = ident(name);
    NodePtr node = fold("#unused", "", list_of(nullptr), std::move(name), std::move(value), boolean(false), std::move(again), std::move(body));
    node->bind = true;
    return node;
  }
};

NodePtr has(Context& c) {
  NodePtr select = c.argument(0);
  if (select->kind != NodeKind::select || select->test_only) return c.issues.report(select->position, "invalid argument to has() macro"), nullptr;
  select->test_only = true;
  return select;
}

// all, exists and exists_one, over one variable or two.
NodePtr quantifier(Context& c) {
  bool two = c.call.args.size() == 4;
  std::string first = c.variable(1), second = two ? c.variable(2) : "";
  if (first.empty() || (two && second.empty())) return nullptr;
  if (first == second) return c.issues.report(c.call.args[2]->position, "duplicate variable name: " + second), nullptr;
  NodePtr predicate = c.argument(two ? 3 : 2);
  uint32_t at = c.position;
  if (c.call.name == "all") {
    return c.fold(first, second, c.boolean(true), make_call(at, "@not_strictly_false", c.accumulator()),
                  make_call(at, "_&&_", c.accumulator(), std::move(predicate)), c.accumulator());
  }
  if (c.call.name == "exists") {
    return c.fold(first, second, c.boolean(false), make_call(at, "@not_strictly_false", make_call(at, "!_", c.accumulator())),
                  make_call(at, "_||_", c.accumulator(), std::move(predicate)), c.accumulator());
  }
  return c.fold(first, second, c.integer(0), c.boolean(true),
                make_call(at, "_?_:_", std::move(predicate), make_call(at, "_+_", c.accumulator(), c.integer(1)), c.accumulator()),
                make_call(at, "_==_", c.accumulator(), c.integer(1)));
}

// accumulator + [item], only where `filter` holds.
NodePtr collect(Context& c, std::string first, std::string second, NodePtr filter, NodePtr item) {
  NodePtr step = make_call(c.position, "_+_", c.accumulator(), c.list_of(std::move(item)));
  if (filter) step = make_call(c.position, "_?_:_", std::move(filter), std::move(step), c.accumulator());
  return c.fold(std::move(first), std::move(second), c.list_of(nullptr), c.boolean(true), std::move(step), c.accumulator());
}

NodePtr map(Context& c) {
  std::string variable = c.variable(1);
  if (variable.empty()) return nullptr;
  bool filtered = c.call.args.size() == 4;
  NodePtr filter = filtered ? c.argument(2) : nullptr;
  return collect(c, variable, "", std::move(filter), c.argument(filtered ? 3 : 2));
}

NodePtr filter(Context& c) {
  std::string variable = c.variable(1);
  if (variable.empty()) return nullptr;
  NodePtr item = c.ident(variable);
  return collect(c, variable, "", c.argument(2), std::move(item));
}

NodePtr transform(Context& c) {
  std::string first = c.variable(1), second = c.variable(2);
  if (first.empty() || second.empty()) return nullptr;
  if (first == second) return c.issues.report(c.call.args[2]->position, "duplicate variable name: " + second), nullptr;
  bool filtered = c.call.args.size() == 5;
  NodePtr filter = filtered ? c.argument(3) : nullptr;
  NodePtr item = c.argument(filtered ? 4 : 3);
  if (c.call.name == "transformList") return collect(c, first, second, std::move(filter), std::move(item));
  NodePtr step = c.call.name == "transformMap" ? make_call(c.position, "cel.@mapInsert", c.accumulator(), c.ident(first), std::move(item))
                                               : make_call(c.position, "cel.@mapInsert", c.accumulator(), std::move(item));
  if (filter) step = make_call(c.position, "_?_:_", std::move(filter), std::move(step), c.accumulator());
  return c.fold(first, second, Node::make(NodeKind::map, c.position), c.boolean(true), std::move(step), c.accumulator());
}

NodePtr member_call(uint32_t position, std::string name, NodePtr target) {
  NodePtr call = make_call(position, std::move(name), std::move(target));
  call->member = true;
  return call;
}

NodePtr optional_map(Context& c) {
  const Node& name = *c.call.args[1];
  if (name.kind != NodeKind::ident) return c.issues.report(name.position, c.call.name + "() variable name must be a simple identifier"), nullptr;
  std::string variable = name.name;
  NodePtr target = c.argument(0);
  NodePtr value = member_call(c.position, "value", target);
  NodePtr body = c.bind(variable, std::move(value), c.argument(2));
  if (c.call.name == "optMap") body = make_call(c.position, "optional.of", std::move(body));
  return make_call(c.position, "_?_:_", member_call(c.position, "hasValue", std::move(target)), std::move(body),
                   make_call(c.position, "optional.none"));
}

// list.sortBy(x, key): keys are computed once, then the list is sorted by them.
NodePtr sort_by(Context& c) {
  const NodePtr& target = c.call.args[0];
  bool sortable = target->kind == NodeKind::select || target->kind == NodeKind::list || target->kind == NodeKind::ident ||
                  target->kind == NodeKind::fold || target->kind == NodeKind::call;
  if (!sortable) return c.issues.report(target->position, "sortBy can only be applied to a list, identifier, comprehension, call or select expression"), nullptr;
  std::string variable = c.variable(1);
  if (variable.empty()) return nullptr;
  constexpr std::string_view input = "@__sortBy_input__";
  NodePtr source = c.argument(0);
  NodePtr keys = c.fold(variable, "", c.ident(input), std::string(kAccumulator), c.list_of(nullptr), c.boolean(true),
                        make_call(c.position, "_+_", c.accumulator(), c.list_of(c.argument(2))), c.accumulator());
  NodePtr call = member_call(c.position, "@sortByAssociatedKeys", c.ident(input));
  call->args.push_back(std::move(keys));
  return c.bind(std::string(input), std::move(source), std::move(call));
}

// cel.bind(name, value, expression).
NodePtr bind_value(Context& c) {
  const Node& name = *c.call.args[1];
  if (name.kind != NodeKind::ident) return c.issues.report(name.position, "cel.bind() variable names must be simple identifiers"), nullptr;
  return c.bind(name.name, c.argument(2), c.argument(3));
}

struct Macro {
  std::string_view name;
  bool member;
  size_t arguments;          // the target included
  NodePtr (*expand)(Context&);
};

constexpr Macro kMacros[]{
    {"has", false, 1, has},
    {"all", true, 3, quantifier}, {"exists", true, 3, quantifier}, {"exists_one", true, 3, quantifier},
    {"all", true, 4, quantifier}, {"exists", true, 4, quantifier}, {"exists_one", true, 4, quantifier}, {"existsOne", true, 4, quantifier},
    {"map", true, 3, map}, {"map", true, 4, map}, {"filter", true, 3, filter},
    {"transformList", true, 4, transform}, {"transformList", true, 5, transform},
    {"transformMap", true, 4, transform}, {"transformMap", true, 5, transform},
    {"transformMapEntry", true, 4, transform}, {"transformMapEntry", true, 5, transform},
    {"optMap", true, 3, optional_map}, {"optFlatMap", true, 3, optional_map},
    {"sortBy", true, 3, sort_by},
};

}  // namespace

NodePtr expand_macro(NodePtr call, Issues& issues, bool bindings) {
  if (bindings && call->name == "bind" && call->member && call->args.size() == 4 && call->args[0]->kind == NodeKind::ident && call->args[0]->name == "cel") {
    Context context{*call, issues, call->position};
    return bind_value(context);
  }
  for (const Macro& macro : kMacros) {
    if (macro.name != call->name || macro.member != call->member || macro.arguments != call->args.size()) continue;
    Context context{*call, issues, call->position};
    return macro.expand(context);
  }
  return call;
}

}  // namespace kcube::cel
