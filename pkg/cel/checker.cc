#include "pkg/cel/checker.h"

#include <algorithm>

#include "pkg/cel/functions.h"
#include "pkg/cel/mutation.h"
#include "pkg/cel/unify.h"

namespace kcube::cel {
namespace {

bool is_dyn(const TypeRef& t) { return t->kind() == TypeKind::dyn; }
bool is_error(const TypeRef& t) { return t->kind() == TypeKind::error; }

// The words of a type in messages; free variables are written as dyn.
std::string shown(const TypeRef& t) {
  switch (t->kind()) {
    case TypeKind::parameter: return t->name();
    case TypeKind::list: return "list(" + shown(t->parameters()[0]) + ")";
    case TypeKind::map: return "map(" + shown(t->parameters()[0]) + ", " + shown(t->parameters()[1]) + ")";
    case TypeKind::type: return t->parameters().empty() ? "type" : "type(" + shown(t->parameters()[0]) + ")";
    case TypeKind::duration: return "duration";
    case TypeKind::timestamp: return "timestamp";
    case TypeKind::null: return "null";
    default: return t->to_string();
  }
}

class Checker {
 public:
  Checker(const Environment& environment, Issues& issues) : environment_(environment), issues_(issues) {}

  void run(Node& root) {
    check(root);
    finish(root);
    if (issues_.empty()) check_items(root, false);
  }

 private:
  void check(Node& node) {
    if (node.checked) return;                // shared by a macro's expansion
    node.checked = true;
    switch (node.kind) {
      case NodeKind::literal: node.type = literal_type(node.constant); break;
      case NodeKind::ident: check_ident(node); break;
      case NodeKind::select: check_select(node); break;
      case NodeKind::call: check_call(node); break;
      case NodeKind::list: check_list(node); break;
      case NodeKind::map: check_map(node); break;
      case NodeKind::object: check_object(node); break;
      case NodeKind::fold: check_fold(node); break;
    }
    if (!node.type) node.type = Type::error();
  }

  static TypeRef literal_type(const Value& value) {
    switch (value.kind()) {
      case Kind::boolean: return Type::boolean();
      case Kind::integer: return Type::integer();
      case Kind::uint: return Type::uint();
      case Kind::number: return Type::number();
      case Kind::string: return Type::string();
      case Kind::bytes: return Type::bytes();
      default: return Type::null();
    }
  }

  TypeRef find_name(std::string_view name) const {
    for (auto it = locals_.rbegin(); it != locals_.rend(); ++it) {
      if (it->first == name) return it->second;
    }
    const Variable* variable = environment_.find_variable(name);
    return variable ? variable->type : nullptr;
  }

  const TypeRef* find_type(std::string_view name) {
    if (const TypeRef* found = Functions::find_type(name)) return found;
    if (!environment_.mutations()) return nullptr;
    TypeRef made = mutation_type(name);
    return made ? &types_.emplace_back(std::move(made)) : nullptr;
  }

  void undeclared(const Node& node, std::string_view name) {
    issues_.report(node.position, "undeclared reference to '" + std::string(name) + "' (in container '')");
  }

  // The node becomes the literal of a type.
  bool becomes_type(Node& node, std::string_view name) {
    const TypeRef* type = find_type(name);
    if (!type) return false;
    node.kind = NodeKind::literal;
    node.args.clear();
    node.constant = Value::type(**type);
    node.type = Type::type_of(*type);
    return true;
  }

  void check_ident(Node& node) {
    node.type = find_name(node.name);
    if (node.type || becomes_type(node, node.name)) return;
    undeclared(node, node.name);
  }

  // "a.b.c" when the node is nothing but names.
  static bool qualified(const Node& node, std::string& name) {
    if (node.kind == NodeKind::ident) return name = node.name, true;
    if (node.kind != NodeKind::select || node.test_only || !qualified(*node.args[0], name)) return false;
    name += '.' + node.name;
    return true;
  }
  static std::string_view first_name(std::string_view qualified) { return qualified.substr(0, qualified.find('.')); }

  // A variable whose name has dots, such as authorizer.requestResource; one of a macro hides it.
  bool becomes_variable(Node& node, std::string_view name) const {
    if (std::ranges::any_of(locals_, [&](const auto& local) { return local.first == first_name(name); })) return false;
    const Variable* variable = environment_.find_variable(name);
    if (variable == nullptr) return false;
    node.kind = NodeKind::ident;
    node.name = name;
    node.args.clear();
    node.type = variable->type;
    return true;
  }

  void check_select(Node& node) {
    std::string name;
    if (!node.test_only && qualified(node, name) && becomes_variable(node, name)) return;
    if (!node.test_only && qualified(node, name) && !find_name(first_name(name)) && becomes_type(node, name)) return;
    TypeRef type = field_type(node, *node.args[0], node.name, false);
    node.type = node.test_only ? Type::boolean() : unifier_.resolve(type);
  }

  // The type of `operand.field`; an optional operand gives an optional.
  TypeRef field_type(const Node& node, Node& operand, std::string_view field, bool optional) {
    check(operand);
    TypeRef type = unifier_.resolve(operand.type);
    if (type->is_optional()) optional = true, type = type->parameters()[0];
    TypeRef result = Type::error();
    switch (type->kind()) {
      case TypeKind::map: result = type->parameters()[1]; break;
      case TypeKind::object:
        if (const Field* found = type->fields() ? type->fields()->find(field) : nullptr) result = found->type;
        else undefined_field(node.position, field);
        break;
      case TypeKind::parameter:
        unifier_.assignable(Type::dyn(), type);
        result = Type::dyn();
        break;
      case TypeKind::dyn: case TypeKind::error: result = Type::dyn(); break;
      default:
        issues_.report(node.position, "type '" + shown(type) + "' does not support field selection");
        result = Type::dyn();
    }
    return optional ? Type::optional(result) : result;
  }

  void undefined_field(uint32_t position, std::string_view field) { issues_.report(position, "undefined field '" + std::string(field) + "'"); }

  bool visible(std::string_view function) const { return environment_.mutations() || function != "jsonpatch.escapeKey"; }

  void check_call(Node& node) {
    if (node.name == "_?._") {
      std::string field(node.args[1]->constant.as_text());
      node.args[1]->type = Type::string();
      node.type = unifier_.resolve(field_type(node, *node.args[0], field, true));
      return;
    }
    for (size_t i = node.member; i < node.args.size(); ++i) check(*node.args[i]);
    std::string prefix;
    if (node.member && qualified(*node.args[0], prefix)) {
      std::string name = prefix + '.' + node.name;
      if (!Functions::builtin().find(name).empty() && visible(name)) {
        node.name = std::move(name), node.member = false;
        node.args.erase(node.args.begin());
      }
    }
    if (node.member) check(*node.args[0]);
    auto overloads = Functions::builtin().find(node.name);
    if (overloads.empty() || !visible(node.name)) return undeclared(node, node.name);
    if (node.name == "_&&_" || node.name == "_||_") return check_logic(node, overloads);
    resolve_overload(node, overloads);
  }

  void check_logic(Node& node, std::span<const Overload> overloads) {
    node.type = Type::boolean();
    node.overloads = {&overloads[0]};
    for (const NodePtr& term : node.args) {
      if (unifier_.assignable(term->type, Type::boolean())) continue;
      mismatch(*term, Type::boolean(), term->type);
      node.type = Type::error();
    }
  }

  void no_overload(const Node& node, std::vector<TypeRef> types) {
    std::string signature;
    size_t first = 0;
    if (node.member) signature = shown(unifier_.resolve(types[0], true)) + ".", first = 1;
    signature += '(';
    for (size_t i = first; i < types.size(); ++i) signature += (i > first ? ", " : "") + shown(unifier_.resolve(types[i], true));
    issues_.report(node.position, "found no matching overload for '" + node.name + "' applied to '" + signature + ")'");
  }

  void resolve_overload(Node& node, std::span<const Overload> overloads) {
    std::vector<TypeRef> types;
    for (const NodePtr& arg : node.args) types.push_back(arg->type);
    for (const Overload& overload : overloads) {
      if (overload.member != node.member || overload.parameters.size() != types.size()) continue;
      std::vector<TypeRef> parameters = overload.parameters;
      TypeRef result = overload.result;
      if (overload.generic) {
        std::vector<std::pair<std::string, TypeRef>> made;
        for (TypeRef& p : parameters) p = unifier_.instantiate(p, made);
        result = unifier_.instantiate(result, made);
      }
      if (!unifier_.assignable(std::span<const TypeRef>(types), std::span<const TypeRef>(parameters))) continue;
      node.overloads.push_back(&overload);
      result = unifier_.resolve(result);
      if (!node.type) node.type = result;
      else if (!is_dyn(node.type) && !same_type(*result, *node.type)) node.type = Type::dyn();
    }
    if (!node.type) no_overload(node, std::move(types));
  }

  void mismatch(const Node& node, const TypeRef& expected, const TypeRef& found) {
    issues_.report(node.position, "expected type '" + shown(expected) + "' but found '" + shown(found) + "'");
  }

  // The type of an item that is written with '?'.
  TypeRef unwrap(const Node& node, const TypeRef& type) {
    if (type->is_optional()) return type->parameters()[0];
    if (!is_dyn(type)) mismatch(node, Type::optional(type), type);
    return type;
  }

  TypeRef join(const Node& node, const TypeRef& before, const TypeRef& type) {
    if (!before) return type;
    (void)node;
    return unifier_.assignable(before, type) ? most_general(before, type) : Type::dyn();
  }

  void check_list(Node& node) {
    TypeRef item;
    for (size_t i = 0; i < node.args.size(); ++i) {
      check(*node.args[i]);
      TypeRef type = node.args[i]->type;
      item = join(*node.args[i], item, node.optional[i] ? unwrap(*node.args[i], type) : type);
    }
    node.type = Type::list(item ? item : unifier_.fresh());
  }

  void check_map(Node& node) {
    TypeRef key, value;
    for (size_t i = 0; i + 1 < node.args.size(); i += 2) {
      check(*node.args[i]);
      key = join(*node.args[i], key, node.args[i]->type);
      check(*node.args[i + 1]);
      TypeRef type = node.args[i + 1]->type;
      value = join(*node.args[i + 1], value, node.optional[i / 2] ? unwrap(*node.args[i + 1], type) : type);
    }
    node.type = key ? Type::map(key, value) : Type::map(unifier_.fresh(), unifier_.fresh());
  }

  void check_object(Node& node) {
    const TypeRef* type = find_type(node.name);
    if (!type) return undeclared(node, node.name);
    node.type = *type;
    if (node.type->kind() != TypeKind::object) {
      issues_.report(node.position, "'" + node.name + "' is not a message type");
      node.type = Type::error();
    }
    for (size_t i = 0; i < node.args.size(); ++i) {
      check(*node.args[i]);
      TypeRef value = node.args[i]->type, field = Type::error();
      if (!is_error(node.type)) {
        if (const Field* found = node.type->fields()->find(node.fields[i])) field = found->type;
        else undefined_field(node.positions[i], node.fields[i]);
      }
      if (node.optional[i]) value = unwrap(*node.args[i], value);
      if (unifier_.assignable(field, value)) continue;
      issues_.report(node.positions[i], "expected type of field '" + node.fields[i] + "' is '" + shown(field) + "' but provided type is '" + shown(value) + "'");
    }
  }

  void check_fold(Node& node) {
    Node &range = *node.args[0], &initial = *node.args[1], &condition = *node.args[2], &step = *node.args[3], &result = *node.args[4];
    check(range);
    check(initial);
    TypeRef type = unifier_.resolve(range.type), first = Type::dyn(), second = Type::dyn();
    switch (type->kind()) {
      case TypeKind::list:
        first = second = type->parameters()[0];
        if (!node.iterator2.empty()) first = Type::integer();
        break;
      case TypeKind::map: first = type->parameters()[0], second = type->parameters()[1]; break;
      case TypeKind::dyn: case TypeKind::error: case TypeKind::parameter: unifier_.assignable(Type::dyn(), type); break;
      default:
        issues_.report(range.position, "expression of type '" + shown(type) + "' cannot be range of a comprehension (must be list, map, or dynamic)");
        first = second = Type::error();
    }
    size_t scope = locals_.size();
    locals_.emplace_back(node.accumulator, initial.type);
    size_t inner = locals_.size();
    locals_.emplace_back(node.iterator, first);
    if (!node.iterator2.empty()) locals_.emplace_back(node.iterator2, second);
    check(condition);
    expect(condition, Type::boolean());
    check(step);
    expect(step, initial.type);
    locals_.resize(inner);
    check(result);
    locals_.resize(scope);
    node.type = unifier_.resolve(result.type);
  }

  void expect(const Node& node, const TypeRef& type) {
    if (!unifier_.assignable(type, node.type)) mismatch(node, type, node.type);
  }

  // Items of a literal have one type, except what is formatted.
  void check_items(Node& node, bool formatted) {
    if (node.items_checked) return;
    node.items_checked = true;
    formatted |= node.is_call("format");
    for (const NodePtr& arg : node.args) check_items(*arg, formatted);
    bool list = node.kind == NodeKind::list;
    if (formatted || (!list && node.kind != NodeKind::map)) return;
    for (size_t first = 0, stride = list ? 1 : 2; first < stride; ++first) {
      TypeRef expected;
      for (size_t i = first; i < node.args.size(); i += stride) {
        bool optional = node.optional[i / stride] && (list || first == 1) && node.args[i]->type->is_optional();
        const TypeRef& type = optional ? node.args[i]->type->parameters()[0] : node.args[i]->type;
        if (!expected) expected = type;
        if (same_type(*expected, *type)) continue;
        mismatch(*node.args[i], expected, type);
        break;
      }
    }
  }

  // Types with no variables left.
  void finish(Node& node) {
    if (node.type && node.checked) node.type = unifier_.resolve(node.type, true);
    node.checked = false;
    for (const NodePtr& arg : node.args) {
      if (arg->checked || !arg->type) finish(*arg);
    }
  }

  const Environment& environment_;
  Issues& issues_;
  Unifier unifier_;
  std::vector<std::pair<std::string, TypeRef>> locals_;
  std::vector<TypeRef> types_;
};

}  // namespace

void check(Node& root, const Environment& environment, Issues& issues) { Checker(environment, issues).run(root); }

}  // namespace kcube::cel
