// Walks a planned tree. One Evaluator is one evaluation.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "pkg/cel/ast.h"
#include "pkg/cel/program.h"

namespace kcube::cel {

class Evaluator {
 public:
  Evaluator(std::span<const std::string> variables, size_t slots, const Activation& activation, const Limits& limits);

  Value run(const Node& root) { return evaluate(root); }
  uint64_t cost() const { return cost_; }
  // Stopped for its cost or because it was cancelled, whatever the value says.
  bool over_limit() const { return over_limit_; }
  bool cancelled() const { return cancelled_; }

 private:
  Value evaluate(const Node& node);
  Value ident(const Node& node);
  Value select(const Node& node);
  Value call(const Node& node);
  Value function(const Node& node);
  Value logic(const Node& node, bool stop_at);
  Value conditional(const Node& node);
  Value index(const Node& node);
  Value optional_member(const Node& node);
  Value append(const Node& node);
  Value insert(const Node& node);
  Value optional_or(const Node& node, bool unwrap);
  Value list(const Node& node);
  Value map(const Node& node);
  Value object(const Node& node);
  Value fold(const Node& node);
  bool step(const Node& node);
  void charge(uint64_t cost);
  void charge_operand(const Node& operand);
  bool stopped() const { return over_limit_ || cancelled_; }

  std::span<const std::string> names_;
  const Activation& activation_;
  const Limits& limits_;
  std::vector<const Value*> variables_;      // looked up so far
  std::vector<Value> slots_;
  uint64_t cost_ = 0;
  bool over_limit_ = false, cancelled_ = false;
};

// Shared with the libraries.
Value no_such_overload(const Node& node, std::span<const Value> arguments);
Value no_such_key(const Value& key);
Value index_value(const Value& container, const Value& key);
// The number that a list may be indexed with, or nullopt.
std::optional<int64_t> as_index(const Value& key);
// As cel-go's %v writes scalars.
std::string describe(const Value& value);

}  // namespace kcube::cel
