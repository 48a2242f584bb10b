#include "pkg/cel/planner.h"

#include <algorithm>
#include <array>

#include "pkg/cel/functions.h"
#include "pkg/cel/parser.h"
#include "pkg/cel/regex.h"

namespace kcube::cel {
namespace {

struct CallName {
  std::string_view function;
  CallKind kind;
};
constexpr CallName kCalls[]{{"_&&_", CallKind::logical_and}, {"_||_", CallKind::logical_or}, {"_?_:_", CallKind::conditional},
                            {"@not_strictly_false", CallKind::not_strictly_false}, {"_[_]", CallKind::index}, {"_?._", CallKind::optional_select},
                            {"_[?_]", CallKind::optional_index}, {"cel.@mapInsert", CallKind::insert}, {"or", CallKind::optional_or},
                            {"orValue", CallKind::optional_or_value}};

// Calls that give the same for the same literal, and are free then.
constexpr std::array<std::string_view, 9> kConversions{"bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint", "dyn"};

class Planner {
 public:
  explicit Planner(Issues& issues) : issues_(issues) {}

  Plan run(Node& root) {
    visit(root);
    return std::move(plan_);
  }

 private:
  void visit(Node& node) {
    if (node.planned) return;                // shared by a macro's expansion, in one scope
    node.planned = true;
    if (node.kind == NodeKind::fold) return visit_fold(node);
    if (node.kind == NodeKind::ident) return resolve(node);
    for (const NodePtr& arg : node.args) visit(*arg);
    if (node.kind == NodeKind::call) visit_call(node);
    if (node.kind == NodeKind::list || node.kind == NodeKind::map) make_constant(node);
  }

  void resolve(Node& node) {
    for (auto it = locals_.rbegin(); it != locals_.rend(); ++it) {
      if (it->first == node.name) return void(node.slot = it->second);
    }
    auto found = std::ranges::find(plan_.variables, node.name);
    node.variable = static_cast<int>(found - plan_.variables.begin());
    if (found == plan_.variables.end()) plan_.variables.push_back(node.name);
  }

  int enter(const std::string& name) {
    int slot = static_cast<int>(locals_.size());
    locals_.emplace_back(name, slot);
    plan_.slots = std::max(plan_.slots, locals_.size());
    return slot;
  }

  void visit_fold(Node& node) {
    visit(*node.args[0]);
    visit(*node.args[1]);
    size_t scope = locals_.size();
    node.accumulator_slot = enter(node.accumulator);
    size_t inner = locals_.size();
    node.iterator_slot = enter(node.iterator);
    if (!node.iterator2.empty()) node.iterator2_slot = enter(node.iterator2);
    visit(*node.args[2]);
    visit(*node.args[3]);
    locals_.resize(inner);
    visit(*node.args[4]);
    locals_.resize(scope);
  }

  static bool literal(const Node& node, Kind kind) { return node.kind == NodeKind::literal && node.constant.is(kind); }

  void visit_call(Node& node) {
    for (const CallName& call : kCalls) {
      if (call.function == node.name && (node.name[0] != 'o' || node.member)) node.call = call.kind;
    }
    // The accumulator of map() and filter() grows in place.
    if (node.is_call("_+_") && node.args[0]->kind == NodeKind::ident && node.args[0]->name == kAccumulator && node.args[0]->slot >= 0 &&
        node.args[1]->kind == NodeKind::list && node.args[1]->args.size() == 1 && !node.args[1]->optional[0]) {
      node.call = CallKind::append;
    }
    if ((node.name == "matches" || node.name == "find" || node.name == "findAll") && node.args.size() >= 2 && literal(*node.args[1], Kind::string)) {
      compile_pattern(node);
    }
    if (!node.member && node.args.size() == 1 && node.args[0]->kind == NodeKind::literal && std::ranges::find(kConversions, node.name) != kConversions.end()) {
      convert(node);
    }
  }

  void compile_pattern(Node& node) {
    auto regex = Regex::compile(node.args[1]->constant.as_text());
    if (regex) node.regex = std::move(*regex);
    else if (node.name == "matches") issues_.report(node.args[1]->position, "invalid matches argument");
  }

  void convert(Node& node) {
    const Value& argument = node.args[0]->constant;
    if (argument.is(Kind::type)) return;
    for (const Overload* overload : node.overloads) {
      if (!accepts(*overload->parameters[0], argument)) continue;
      Value value = overload->run(std::span(&argument, 1), node);
      if (!value.is_error()) return become(node, std::move(value));
      bool validated = argument.is(Kind::string) && !node.args[0]->folded && (node.name == "duration" || node.name == "timestamp");
      if (validated) issues_.report(node.args[0]->position, "invalid " + node.name + " argument");
      return;
    }
  }

  // A list or map of literals is made once. Cost trackers see no making then.
  void make_constant(Node& node) {
    for (size_t i = 0; i < node.args.size(); ++i) {
      if (node.args[i]->kind != NodeKind::literal || node.args[i]->constant.is(Kind::type)) return;
    }
    if (std::ranges::find(node.optional, true) != node.optional.end()) return;
    if (node.kind == NodeKind::list) {
      std::vector<Value> items;
      for (const NodePtr& arg : node.args) items.push_back(arg->constant);
      return become(node, Value::list(std::move(items)));
    }
    Value map = Value::map({});
    for (size_t i = 0; i + 1 < node.args.size(); i += 2) {
      const Value& key = node.args[i]->constant;
      bool scalar = key.is(Kind::string) || key.is(Kind::boolean) || key.is(Kind::integer) || key.is(Kind::uint);
      if (!scalar || map.find(key)) return;            // fails when it is evaluated
      map.insert_in_place(key, node.args[i + 1]->constant);
    }
    become(node, std::move(map));
  }

  static void become(Node& node, Value value) {
    node.kind = NodeKind::literal, node.folded = true;
    node.constant = std::move(value);
    node.args.clear();
  }

  Issues& issues_;
  Plan plan_;
  std::vector<std::pair<std::string, int>> locals_;
};

}  // namespace

Plan plan(Node& root, Issues& issues) { return Planner(issues).run(root); }

}  // namespace kcube::cel
