// The tree of an expression. The parser makes it, the checker writes types and overloads into it, the evaluator walks it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pkg/cel/type.h"
#include "pkg/cel/value.h"

namespace kcube::cel {

struct Overload;
class Regex;

enum class NodeKind : uint8_t { literal, ident, select, call, list, map, object, fold };

// What a call is to the evaluator.
enum class CallKind : uint8_t {
  function, logical_and, logical_or, conditional, not_strictly_false, index, optional_select, optional_index,
  append,        // accumulator + [item], in place
  insert,        // cel.@mapInsert(accumulator, …), in place
  optional_or, optional_or_value,
};

struct Node;
using NodePtr = std::shared_ptr<Node>;   // shared where a macro needs an expression twice

struct Node {
  NodeKind kind;
  uint32_t position = 0;                 // in code points from the start
  uint32_t depth = 0;                    // of the tree below, when it was asked for
  // Of idents, selects (field), calls (function) and objects (type).
  std::string name;
  // select: operand. call: target first when `member`, then arguments. list: items. map: key, value, key, value …
  // object: field values. fold: range, initial, condition, step, result. && and ||: all terms of the chain.
  std::vector<NodePtr> args;
  std::vector<std::string> fields;       // of an object
  std::vector<uint32_t> positions;       // of an object's fields
  std::vector<bool> optional;            // of list items, map entries and object fields: written with '?'
  bool member = false;                   // call with a target
  bool test_only = false;                // has()
  std::string iterator, iterator2, accumulator;   // of a fold
  Value constant;                        // of a literal

  // By the checker.
  TypeRef type;
  std::vector<const Overload*> overloads;
  bool checked = false, items_checked = false;
  // By the planner.
  bool planned = false;
  bool folded = false;                   // a literal that was a call or a list
  CallKind call = CallKind::function;
  int slot = -1;                         // of a local variable
  int variable = -1;                     // of a declared variable: index into the program's names
  int iterator_slot = -1, iterator2_slot = -1, accumulator_slot = -1;
  bool bind = false;                     // a fold that only names a value
  std::shared_ptr<const Regex> regex;    // of a literal pattern

  static NodePtr make(NodeKind kind, uint32_t position, std::string name = {}) {
    auto node = std::make_shared<Node>();
    node->kind = kind, node->position = position, node->name = std::move(name);
    return node;
  }
  bool is_call(std::string_view function) const { return kind == NodeKind::call && name == function; }
};

// How deep the tree is; remembered in each node.
uint32_t depth_of(Node& node);

template <typename... Args>
NodePtr make_call(uint32_t position, std::string function, Args... args) {
  NodePtr node = Node::make(NodeKind::call, position, std::move(function));
  (node->args.push_back(std::move(args)), ...);
  return node;
}
NodePtr make_literal(uint32_t position, Value constant);
NodePtr make_text(uint32_t position, std::string text, bool bytes = false);

// Errors found in one source, in the form cel-go gives them.
class Issues {
 public:
  explicit Issues(std::string_view source);
  void report(uint32_t position, std::string message);
  bool empty() const { return issues_.empty(); }
  size_t count() const { return issues_.size(); }
  std::string to_string() const;

 private:
  struct Issue {
    uint32_t line, column;
    std::string message;
  };
  std::string_view source_;
  std::vector<Issue> issues_;
};

}  // namespace kcube::cel
