#include "pkg/cel/evaluator.h"

#include <cmath>

#include "pkg/cel/cost.h"
#include "pkg/cel/functions.h"
#include "pkg/cel/time.h"

namespace kcube::cel {
namespace {

constexpr size_t kMaxArguments = 8;

bool is_name(const Node& node) {
  return node.kind == NodeKind::ident || node.kind == NodeKind::select ||
         (node.kind == NodeKind::call && (node.call == CallKind::index || node.call == CallKind::optional_select || node.call == CallKind::optional_index));
}

}  // namespace

std::string describe(const Value& v) {
  switch (v.kind()) {
    case Kind::null: return "null";
    case Kind::boolean: return v.as_boolean() ? "true" : "false";
    case Kind::integer: return std::to_string(v.as_integer());
    case Kind::uint: return std::to_string(v.as_uint());
    case Kind::number: {
      char buffer[32];
      return std::string(buffer, std::snprintf(buffer, sizeof buffer, "%g", v.as_number()));
    }
    case Kind::string: case Kind::bytes: case Kind::error: return std::string(v.as_text());
    case Kind::duration: return format_duration(v.duration_nanoseconds());
    case Kind::timestamp: return format_timestamp({v.timestamp_seconds(), v.timestamp_nanoseconds()});
    case Kind::type: return v.as_type().name();
    default: return v.dynamic_type().name();
  }
}

Value no_such_key(const Value& key) { return Value::failure("no such key: " + describe(key)); }

Value no_such_overload(const Node& node, std::span<const Value> arguments) {
  bool is_operator = node.name.front() == '_' || node.name == "!_" || node.name == "-_" || node.name.front() == '@';
  if (is_operator) return Value::failure("no such overload");
  for (std::string_view standard : {"contains", "startsWith", "endsWith", "matches"}) {
    if (node.name == standard) return Value::failure("no such overload");
  }
  std::string text = "no such overload: " + node.name;
  if (node.name == "size") return Value::failure(std::move(text));
  text += '(';
  for (size_t i = 0; i < arguments.size(); ++i) text += (i ? ", " : "") + arguments[i].dynamic_type().name();
  return Value::failure(text + ')');
}

std::optional<int64_t> as_index(const Value& key) {
  switch (key.kind()) {
    case Kind::integer: return key.as_integer();
    case Kind::uint: return key.as_uint() > INT64_MAX ? std::nullopt : std::optional(static_cast<int64_t>(key.as_uint()));
    case Kind::number: {
      double d = key.as_number();
      return d == std::trunc(d) && std::abs(d) < 9.2e18 ? std::optional(static_cast<int64_t>(d)) : std::nullopt;
    }
    default: return std::nullopt;
  }
}

Value index_value(const Value& container, const Value& key) {
  if (container.is(Kind::list)) {
    std::optional<int64_t> i = as_index(key);
    if (!i) return Value::failure("unsupported index type '" + key.dynamic_type().name() + "' in list");
    if (*i < 0 || static_cast<uint64_t>(*i) >= container.size()) return Value::failure("index out of bounds: " + std::to_string(*i));
    return container.at(static_cast<size_t>(*i));
  }
  if (container.is(Kind::map)) {
    std::optional<Value> found = container.find(key);
    return found ? std::move(*found) : no_such_key(key);
  }
  return no_such_key(key);
}

Evaluator::Evaluator(std::span<const std::string> variables, size_t slots, const Activation& activation, const Limits& limits)
    : names_(variables), activation_(activation), limits_(limits), variables_(variables.size()), slots_(slots) {}

void Evaluator::charge(uint64_t cost) {
  cost_ = cost_ + cost < cost_ ? UINT64_MAX : cost_ + cost;
  if (cost_ > limits_.cost) over_limit_ = true;
}

// Selecting from what is no name costs once more: cel-go makes an attribute of it first.
void Evaluator::charge_operand(const Node& operand) {
  if (!is_name(operand)) charge(kNameCost);
}

Value Evaluator::evaluate(const Node& node) {
  if (stopped()) return Value::failure("operation cancelled: actual cost limit exceeded");
  switch (node.kind) {
    case NodeKind::literal: return node.constant.borrow();
    case NodeKind::ident: return ident(node);
    case NodeKind::select: return select(node);
    case NodeKind::call: return call(node);
    case NodeKind::list: return list(node);
    case NodeKind::map: return map(node);
    case NodeKind::object: return object(node);
    case NodeKind::fold: return fold(node);
  }
  return Value::failure("no such overload");
}

Value Evaluator::ident(const Node& node) {
  charge(kNameCost);
  if (node.slot >= 0) return slots_[node.slot];
  const Value*& value = variables_[node.variable];
  if (!value) value = activation_.find(names_[node.variable]);
  if (!value) value = activation_.resolve(names_[node.variable]);
  if (!value) return Value::failure("no such attribute(s): " + node.name);
  return *value;
}

Value Evaluator::select(const Node& node) {
  Value operand = evaluate(*node.args[0]);
  if (operand.is_error()) return operand;
  if (!node.test_only) charge_operand(*node.args[0]), charge(kNameCost);
  bool optional = operand.is(Kind::optional);
  if (optional) {
    if (!operand.contained()) return node.test_only ? Value::boolean(false) : operand;
    operand = Value(*operand.contained());
  }
  std::optional<Value> found;
  if (operand.is(Kind::map)) found = operand.find(node.name);
  if (found && found->is_error()) return std::move(*found);
  if (operand.is(Kind::list)) return Value::failure("unsupported index type 'string' in list");
  if (node.test_only) return Value::boolean(found.has_value());
  if (optional) return found ? Value::optional(std::move(*found)) : Value::none();
  if (found) return std::move(*found);
  return no_such_key(Value::text(node.name));
}

Value Evaluator::call(const Node& node) {
  switch (node.call) {
    case CallKind::function: return function(node);
    case CallKind::logical_and: return logic(node, false);
    case CallKind::logical_or: return logic(node, true);
    case CallKind::conditional: return conditional(node);
    case CallKind::not_strictly_false: {
      Value value = evaluate(*node.args[0]);
      charge(1);
      return Value::boolean(!value.is_false());
    }
    case CallKind::index: return index(node);
    case CallKind::optional_select: case CallKind::optional_index: return optional_member(node);
    case CallKind::append: return append(node);
    case CallKind::insert: return insert(node);
    case CallKind::optional_or: return optional_or(node, false);
    case CallKind::optional_or_value: return optional_or(node, true);
  }
  return Value::failure("no such overload");
}

Value Evaluator::function(const Node& node) {
  size_t count = node.args.size();
  if (count > kMaxArguments) return Value::failure("no such overload");
  Value arguments[kMaxArguments];
  for (size_t i = 0; i < count; ++i) {
    arguments[i] = evaluate(*node.args[i]);
    if (arguments[i].is_error()) return std::move(arguments[i]);
  }
  std::span<const Value> all(arguments, count);
  for (const Overload* overload : node.overloads) {
    bool fits = true;
    for (size_t i = 0; fits && i < count; ++i) fits = accepts(*overload->parameters[i], arguments[i]);
    if (!fits) continue;
    // Membership in a list of constants is free, as cel-go makes a set of it.
    bool free = overload->cost == CostRule::in_list && node.args[1]->kind == NodeKind::literal;
    bool after = cost_needs_result(overload->cost);
    if (!free && !after) charge(call_cost(overload->cost, all, Value()));
    if (stopped()) return Value::failure("operation cancelled: actual cost limit exceeded");
    Value result = overload->run(all, node);
    if (after) charge(call_cost(overload->cost, all, result));
    return result;
  }
  return no_such_overload(node, all);
}

// && stops at false, || at true; an error counts only when no term decides.
Value Evaluator::logic(const Node& node, bool stop_at) {
  Value error;
  for (const NodePtr& term : node.args) {
    Value value = evaluate(*term);
    if (stopped()) return value;
    if (value.is(Kind::boolean)) {
      if (value.as_boolean() == stop_at) return value;
    } else if (error.is_null()) {
      error = value.is_error() ? std::move(value) : Value::failure("no such overload");
    }
  }
  return error.is_null() ? Value::boolean(!stop_at) : error;
}

Value Evaluator::conditional(const Node& node) {
  Value condition = evaluate(*node.args[0]);
  if (condition.is_error()) return condition;
  if (!condition.is(Kind::boolean)) return Value::failure("no such overload");
  return evaluate(*node.args[condition.as_boolean() ? 1 : 2]);
}

Value Evaluator::index(const Node& node) {
  Value container = evaluate(*node.args[0]);
  if (container.is_error()) return container;
  Value key = evaluate(*node.args[1]);
  if (key.is_error()) return key;
  charge_operand(*node.args[0]);
  charge(kNameCost);
  if (!container.is(Kind::optional)) return index_value(container, key);
  if (!container.contained()) return container;
  Value found = index_value(*container.contained(), key);
  return found.is_error() ? Value::none() : Value::optional(std::move(found));
}

// a.?b and a[?b]: an optional, none when it is not there.
Value Evaluator::optional_member(const Node& node) {
  Value container = evaluate(*node.args[0]);
  if (container.is_error()) return container;
  Value key = evaluate(*node.args[1]);
  if (key.is_error()) return key;
  charge_operand(*node.args[0]);
  charge(kNameCost);
  if (container.is(Kind::optional)) {
    if (!container.contained()) return container;
    container = Value(*container.contained());
  }
  if (container.is(Kind::map)) {
    std::optional<Value> found = container.find(key);
    if (!found) return Value::none();
    return found->is_error() ? std::move(*found) : Value::optional(std::move(*found));
  }
  if (container.is(Kind::list)) {
    Value found = index_value(container, key);
    if (!found.is_error()) return Value::optional(std::move(found));
    return as_index(key) ? Value::none() : found;
  }
  return node.call == CallKind::optional_select ? Value::none() : Value::failure("no such overload");
}

// accumulator + [item] where nobody else holds the accumulator.
Value Evaluator::append(const Node& node) {
  charge(kNameCost);
  const Node& item_node = *node.args[1]->args[0];
  Value item = evaluate(item_node);
  if (item.is_error()) return item;
  charge(kListCost + 1);
  Value& accumulator = slots_[node.args[0]->slot];
  if (accumulator.is_error()) return accumulator;
  if (!accumulator.append_in_place(item)) {
    std::vector<Value> items;
    for (size_t i = 0; i < accumulator.size(); ++i) items.push_back(accumulator.at(i));
    items.push_back(std::move(item));
    return Value::list(std::move(items));
  }
  return std::move(accumulator);
}

Value Evaluator::insert(const Node& node) {
  charge(kNameCost);
  std::vector<std::pair<Value, Value>> entries;
  Value first = evaluate(*node.args[1]);
  if (first.is_error()) return first;
  if (node.args.size() == 3) {
    Value value = evaluate(*node.args[2]);
    if (value.is_error()) return value;
    entries.emplace_back(std::move(first), std::move(value));
  } else {
    if (!first.is(Kind::map)) return Value::failure("no such overload");
    first.for_each([&](const Value& key, const Value& value) { return entries.emplace_back(key, value), true; });
  }
  charge(1);
  Value& slot = slots_[node.args[0]->slot];
  if (slot.is_error()) return slot;
  Value accumulator = std::move(slot);
  for (auto& [key, value] : entries) {
    if (accumulator.find(key)) return Value::failure("insert failed: key " + describe(key) + " already exists");
    if (accumulator.insert_in_place(key, value)) continue;
    std::vector<std::pair<Value, Value>> copy;
    accumulator.for_each([&](const Value& k, const Value& v) { return copy.emplace_back(k, v), true; });
    copy.emplace_back(std::move(key), std::move(value));
    accumulator = Value::map(std::move(copy));
  }
  return accumulator;
}

// optional.or(other) and optional.orValue(value): the other is evaluated only when needed.
Value Evaluator::optional_or(const Node& node, bool unwrap) {
  Value first = evaluate(*node.args[0]);
  if (first.is_error()) return first;
  if (!first.is(Kind::optional)) return Value::failure("no such overload");
  if (first.contained()) return unwrap ? Value(*first.contained()) : first;
  Value second = evaluate(*node.args[1]);
  if (unwrap || second.is_error() || second.is(Kind::optional)) return second;
  return Value::failure("no such overload");
}

Value Evaluator::list(const Node& node) {
  std::vector<Value> items;
  items.reserve(node.args.size());
  for (size_t i = 0; i < node.args.size(); ++i) {
    Value item = evaluate(*node.args[i]);
    if (item.is_error()) return item;
    if (node.optional[i]) {
      if (!item.is(Kind::optional)) return Value::failure("cannot initialize optional list element from non-optional value " + describe(item));
      if (!item.contained()) continue;
      item = Value(*item.contained());
    }
    items.push_back(std::move(item));
  }
  charge(kListCost);
  return Value::list(std::move(items));
}

Value Evaluator::map(const Node& node) {
  std::vector<std::pair<Value, Value>> entries;
  Value made = Value::map({});
  for (size_t i = 0; i + 1 < node.args.size(); i += 2) {
    Value key = evaluate(*node.args[i]);
    if (key.is_error()) return key;
    Value value = evaluate(*node.args[i + 1]);
    if (value.is_error()) return value;
    if (node.optional[i / 2]) {
      if (!value.is(Kind::optional)) return Value::failure("cannot initialize optional entry '" + describe(key) + "' from non-optional value " + describe(value));
      if (!value.contained()) continue;
      value = Value(*value.contained());
    }
    if (made.find(key)) return Value::failure("Failed with repeated key: " + describe(key));
    made.insert_in_place(std::move(key), std::move(value));
  }
  charge(kMapCost);
  return made;
}

Value Evaluator::object(const Node& node) {
  std::vector<std::pair<Value, Value>> fields;
  for (size_t i = 0; i < node.args.size(); ++i) {
    Value value = evaluate(*node.args[i]);
    if (value.is_error()) return value;
    if (node.optional[i]) {
      if (!value.is(Kind::optional)) return Value::failure("cannot initialize optional entry '" + node.fields[i] + "' from non-optional value " + describe(value));
      if (!value.contained()) continue;
      value = Value(*value.contained());
    }
    Value name = Value::string(node.fields[i]);
    std::erase_if(fields, [&](const auto& field) { return equal(field.first, name); });
    fields.emplace_back(std::move(name), std::move(value));
  }
  charge(kObjectCost);
  return Value::object(*node.type, std::move(fields));
}

// One turn of a loop; false when it is over.
bool Evaluator::step(const Node& node) {
  if (limits_.cancelled && limits_.cancelled->load(std::memory_order_relaxed)) cancelled_ = true;
  if (stopped()) return false;
  const Node& condition = *node.args[2];
  bool unconditional = condition.kind == NodeKind::literal;
  if (unconditional) {
    if (slots_[node.accumulator_slot].is_error()) return false;
  } else if (!evaluate(condition).is_true()) {
    return false;
  }
  Value next = evaluate(*node.args[3]);
  slots_[node.accumulator_slot] = std::move(next);
  return true;
}

Value Evaluator::fold(const Node& node) {
  Value range = evaluate(*node.args[0]);
  if (range.is_error()) return range;
  slots_[node.accumulator_slot] = evaluate(*node.args[1]);
  if (range.is(Kind::list)) {
    for (size_t i = 0, size = range.size(); i < size; ++i) {
      Value item = range.at(i);
      if (item.is_error()) return item;
      if (node.iterator2_slot >= 0) slots_[node.iterator_slot] = Value::integer(static_cast<int64_t>(i)), slots_[node.iterator2_slot] = std::move(item);
      else slots_[node.iterator_slot] = std::move(item);
      if (!step(node)) break;
    }
  } else if (range.is(Kind::map)) {
    for (Value& key : range.keys()) {
      if (node.iterator2_slot >= 0) slots_[node.iterator2_slot] = range.find(key).value_or(Value());
      slots_[node.iterator_slot] = std::move(key);
      if (!step(node)) break;
    }
  } else {
    std::string name = range.dynamic_type().name();
    name[0] = static_cast<char>(name[0] & ~0x20);
    return Value::failure("got 'types." + name + "', expected iterable type");
  }
  Value result = evaluate(*node.args[4]);
  slots_[node.accumulator_slot] = Value();
  return result;
}

}  // namespace kcube::cel
