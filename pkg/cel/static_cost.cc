// The static estimate. Sizes come from literals, from bounds of declared types, and from what calls are known to return;
// where nothing is known the worst case is without bound.
#include <algorithm>
#include <cmath>
#include <optional>
#include <unordered_map>

#include "pkg/cel/cost.h"

namespace kcube::cel {
namespace {

uint64_t add(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
uint64_t multiply(uint64_t a, uint64_t b) { return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b; }
uint64_t scale(uint64_t n, double factor) {
  double product = std::ceil(static_cast<double>(n) * factor);
  return product >= 18446744073709551616.0 ? UINT64_MAX : static_cast<uint64_t>(product);
}

struct EntrySizes {
  Range key, value;
};

struct Local {
  std::string name;
  const Type* path = nullptr;                // the declared type of what it stands for
  std::optional<Range> size;
  std::optional<EntrySizes> entries;
};

bool scalar(const Type& t) {
  switch (t.kind()) {
    case TypeKind::boolean: case TypeKind::integer: case TypeKind::uint: case TypeKind::number: case TypeKind::duration: case TypeKind::timestamp: return true;
    default: return t.is_optional() && scalar(*t.parameters()[0]);
  }
}

class Estimator {
 public:
  explicit Estimator(const Environment& environment) : environment_(environment) {}

  Range cost(const Node& node) {
    if (auto known = costs_.find(&node); known != costs_.end()) return known->second;
    Range range = compute(node);
    costs_.emplace(&node, range);
    return range;
  }

 private:
  Range compute(const Node& node) {
    switch (node.kind) {
      case NodeKind::literal: return {};
      case NodeKind::ident: return ident(node);
      case NodeKind::select: return select(node);
      case NodeKind::call: return call(node);
      case NodeKind::list: return list(node);
      case NodeKind::map: return map(node);
      case NodeKind::object: return sum(node.args) + Range::fixed(kObjectCost);
      case NodeKind::fold: return node.bind ? bind(node) : fold(node);
    }
    return {};
  }

  Range sum(std::span<const NodePtr> nodes) {
    Range total;
    for (const NodePtr& node : nodes) total = total + cost(*node);
    return total;
  }

  const Local* local(std::string_view name) const {
    for (auto it = locals_.rbegin(); it != locals_.rend(); ++it) {
      if (it->name == name) return &*it;
    }
    return nullptr;
  }

  Range ident(const Node& node) {
    if (const Local* found = local(node.name)) {
      paths_[&node] = found->path;
      if (found->size) fallback_sizes_[&node] = *found->size;
      if (found->entries) entries_[&node] = *found->entries;
    } else if (const Variable* variable = environment_.find_variable(node.name)) {
      paths_[&node] = variable->type.get();
    }
    return Range::fixed(kNameCost);
  }

  Range select(const Node& node) {
    const Node& operand = *node.args[0];
    Range total = cost(operand);
    if (node.test_only) return total;
    TypeKind kind = operand.type->kind();
    if (kind == TypeKind::map || kind == TypeKind::object || kind == TypeKind::parameter) total = total + Range::fixed(kNameCost);
    const Type* path = path_of(operand);
    const Field* field = path && path->kind() == TypeKind::object && path->fields() ? path->fields()->find(node.name) : nullptr;
    // An entry of a map that is named like a field has no size that is known, but for those that say so themselves: the
    // attributes of devices.
    const Type* entry = path && path->kind() == TypeKind::map ? item_of(path) : nullptr;
    const bool bounded = entry && entry->kind() == TypeKind::dyn && entry->max_size() != kUnbounded;
    paths_[&node] = field ? field->type.get() : bounded ? entry : nullptr;
    return total;
  }

  const Type* path_of(const Node& node) const {
    auto it = paths_.find(&node);
    return it == paths_.end() ? nullptr : it->second;
  }
  static const Type* item_of(const Type* type) {
    if (!type) return nullptr;
    if (type->kind() == TypeKind::list) return type->parameters()[0].get();
    return type->kind() == TypeKind::map ? type->parameters()[1].get() : nullptr;
  }

  // What a document's value of that declared type has at most.
  static std::optional<Range> bound(const Type* type) {
    if (!type) return std::nullopt;
    switch (type->kind()) {
      case TypeKind::boolean: case TypeKind::integer: case TypeKind::uint: case TypeKind::number: case TypeKind::null: case TypeKind::object: return Range{0, 0};
      default: break;
    }
    if (type->max_size() == kUnbounded) return std::nullopt;
    return Range{0, type->max_size()};
  }

  std::optional<Range> size(const Node& node) const {
    if (auto it = sizes_.find(&node); it != sizes_.end()) return it->second;
    if (node.kind == NodeKind::literal) return Range::fixed(cost_size(node.constant));
    if (node.kind == NodeKind::list) return Range::fixed(node.args.size());
    if (node.kind == NodeKind::map) return Range::fixed(node.args.size() / 2);
    if (auto range = bound(path_of(node))) return range;
    if (node.type && scalar(*node.type)) return Range::fixed(1);
    if (auto it = fallback_sizes_.find(&node); it != fallback_sizes_.end()) return it->second;
    return std::nullopt;
  }
  Range size_or_unknown(const Node& node) const { return size(node).value_or(Range::unknown()); }
  std::optional<EntrySizes> entries(const Node& node) const {
    auto it = entries_.find(&node);
    return it == entries_.end() ? std::nullopt : std::optional(it->second);
  }
  void copy_sizes(const Node& to, const Node& from) {
    if (auto range = size(from)) sizes_[&to] = *range;
    if (auto known = entries(from)) entries_[&to] = *known;
  }

  Range list(const Node& node) {
    Range item = node.args.empty() ? Range{0, 0} : Range{UINT64_MAX, 0};
    Range total;
    for (const NodePtr& arg : node.args) {
      total = total + cost(*arg);
      item = item.join(size_or_unknown(*arg));
    }
    entries_[&node] = {Range::fixed(1), item};
    return total + Range::fixed(kListCost);
  }

  Range map(const Node& node) {
    Range none = node.args.empty() ? Range{0, 0} : Range{UINT64_MAX, 0}, key = none, value = none, total;
    for (size_t i = 0; i + 1 < node.args.size(); i += 2) {
      total = total + cost(*node.args[i]) + cost(*node.args[i + 1]);
      key = key.join(size_or_unknown(*node.args[i]));
      value = value.join(size_or_unknown(*node.args[i + 1]));
    }
    entries_[&node] = {key, value};
    return total + Range::fixed(kMapCost);
  }

  Range bind(const Node& node) {
    Range total = cost(*node.args[0]) + cost(*node.args[1]);
    locals_.push_back({node.accumulator, path_of(*node.args[1]), size(*node.args[1]), entries(*node.args[1])});
    total = total + cost(*node.args[4]);
    locals_.pop_back();
    copy_sizes(node, *node.args[4]);
    return total;
  }

  Range fold(const Node& node) {
    const Node &range = *node.args[0], &initial = *node.args[1];
    Range total = cost(range) + cost(initial);
    size_t scope = locals_.size();
    locals_.push_back({node.accumulator, path_of(initial), size(initial), entries(initial)});
    enter_iterators(node, range);
    Range turn = cost(*node.args[2]);
    turn = cost(*node.args[3]) + turn;
    locals_.resize(scope + 1);
    total = total + cost(*node.args[4]);
    locals_.resize(scope);
    Range count = size_or_unknown(range);
    if (initial.kind == NodeKind::literal) {
      if (auto known = size(initial)) sizes_[&node] = *known;
    } else if (initial.kind == NodeKind::list || initial.kind == NodeKind::map) {
      sizes_[&node] = count;
      if (auto known = entries(*node.args[3])) entries_[&node] = *known;
    }
    return total + count * turn;
  }

  void enter_iterators(const Node& node, const Node& range) {
    const Type* path = path_of(range);
    bool list = range.type->kind() == TypeKind::list;
    const Type* key_path = path && path->kind() == TypeKind::map ? path->parameters()[0].get() : nullptr;
    const Type* value_path = item_of(path);
    std::optional<EntrySizes> known = entries(range);
    auto key_size = known ? std::optional(known->key) : std::nullopt, value_size = known ? std::optional(known->value) : std::nullopt;
    if (node.iterator2.empty()) {
      locals_.push_back(list ? Local{node.iterator, value_path, value_size, {}} : Local{node.iterator, key_path, key_size, {}});
    } else {
      locals_.push_back({node.iterator, list ? nullptr : key_path, key_size, {}});
      locals_.push_back({node.iterator2, value_path, value_size, {}});
    }
  }

  Range call(const Node& node) {
    if (node.name == "dyn" && !node.member) {
      Range total = cost(*node.args[0]) + Range::fixed(1);
      copy_sizes(node, *node.args[0]);
      return total;
    }
    Range arguments;
    for (size_t i = node.member; i < node.args.size(); ++i) arguments = arguments + cost(*node.args[i]);
    if (node.name == "_?._") return arguments + Range::fixed(1);
    if (node.overloads.empty()) return {};
    Range target = node.member ? cost(*node.args[0]) : Range{};
    Range work{UINT64_MAX, 0};
    std::optional<Range> result;
    for (const Overload* overload : node.overloads) {
      std::optional<Range> returned;
      work = work.join(overload_cost(node, *overload, arguments, returned));
      if (returned) result = result ? result->join(*returned) : *returned;
    }
    if (node.name == "_[_]") index(node, result);
    if (result) sizes_[&node] = *result;
    else if (auto known = size(node)) sizes_[&node] = *known;
    return target + work;
  }

  void index(const Node& node, std::optional<Range>& result) {
    paths_[&node] = item_of(path_of(*node.args[0]));
    if (auto known = entries(*node.args[0])) result = known->value;
  }

  // The size of an item of the list: by its declared bound, else by its type.
  Range item_size(const Node& list) const {
    if (auto range = bound(item_of(path_of(list)))) return *range;
    return Range::unknown();
  }

  // `arguments` are the costs of arguments without the target.
  Range overload_cost(const Node& node, const Overload& overload, Range arguments, std::optional<Range>& result) {
    auto arg = [&](size_t i) { return size_or_unknown(*node.args[i]); };
    auto traversal = [&](size_t i) { return arg(i).times(kTraversal); };
    auto pattern = [&](Range text, Range size) { return (text + Range::fixed(1)).times(kTraversal) * size.times(kRegexLength); };
    if (node.name == "_?_:_") return conditional(node, result);
    if (node.name == "_&&_" || node.name == "_||_") return Range{cost(*node.args[0]).min, arguments.max};
    switch (overload.cost) {
      case CostRule::traverse:
        // Of startsWith and endsWith, the prefix counts here.
        return arguments + (node.name == "startsWith" || node.name == "endsWith" ? traversal(1) : traversal(0));
      case CostRule::traverse_twice: return arguments + arg(0).times(2 * kTraversal);
      case CostRule::substring: case CostRule::url: result = arg(0); return arguments + traversal(0);
      case CostRule::to_bytes: result = Range{arg(0).min, multiply(arg(0).max, 4)}; return arguments + traversal(0);
      case CostRule::to_text: result = Range{arg(0).min / 4, arg(0).max}; return arguments + traversal(0);
      case CostRule::quote: result = Range{add(arg(0).min, 2), add(multiply(arg(0).max, 2), 2)}; return arguments + traversal(0);
      case CostRule::format_text: return arguments + traversal(0);
      case CostRule::in_list: return arguments + arg(1);
      case CostRule::equality: return arguments + equality(node);
      case CostRule::order: return arguments + smaller(arg(0), arg(1));
      case CostRule::add_text: result = arg(0) + arg(1); return arguments + result->times(kTraversal);
      case CostRule::add_list: result = arg(0) + arg(1); join_entries(node); return arguments + Range::fixed(1);
      case CostRule::matches:
        if (node.name == "matches" && !node.member) return arguments + Range::fixed(1);
        if (node.name != "matches") result = Range{0, arg(0).max};
        return arguments + pattern(arg(0), arg(1));
      case CostRule::contains: return arguments + traversal(0) * traversal(1);
      case CostRule::walk_list: return arguments + walk(node);
      case CostRule::walk_text: return arguments + traversal(0);
      case CostRule::join: return arguments + join(node, result);
      case CostRule::replace: result = replaced(arg(0), arg(1), arg(2)); return arguments + arg(0).times(2 * kTraversal);
      case CostRule::split: {
        uint64_t most = arg(0).max;
        if (node.args.size() > 2 && node.args[2]->kind == NodeKind::literal) most = static_cast<uint64_t>(node.args[2]->constant.as_integer());
        result = Range{0, most};
        return arguments + arg(0).times(2 * kTraversal);
      }
      case CostRule::selector:
        return arguments + Range::fixed(kListCost) + traversal(1) + arg(1).times(0.5).times(kListCost + kObjectCost);
      case CostRule::authorize: return arguments + Range::fixed(kAuthorizationCost);
      case CostRule::validate: return arguments + traversal(1).times(60 * kRegexLength);
      case CostRule::contains_ip: return arguments + Range{8, 32}.times(kTraversal);
      case CostRule::contains_ip_text: return arguments + Range{8, 32}.times(kTraversal) + traversal(1);
      case CostRule::contains_cidr: return arguments + Range{8, 32}.times(kTraversal) + Range{4, 16}.times(kTraversal) + Range::fixed(1);
      case CostRule::contains_cidr_text:
        return arguments + Range{8, 32}.times(kTraversal) + Range{4, 16}.times(kTraversal) + Range::fixed(1) + traversal(1);
      case CostRule::sets: return arguments + arg(0) * arg(1) + Range::fixed(1);
      case CostRule::sets_twice: return arguments + (arg(0) * arg(1)).times(2) + Range::fixed(1);
      case CostRule::slice: case CostRule::range: case CostRule::flatten: case CostRule::sort: case CostRule::distinct:
        return arguments + allocating(node, overload, result);
      case CostRule::unit: return arguments + Range::fixed(1);
    }
    return arguments + Range::fixed(1);
  }

  static Range smaller(Range a, Range b) {
    uint64_t most = std::min(a.max, b.max);
    return Range{most > 0 ? 1u : 0u, most}.times(kTraversal);
  }

  Range equality(const Node& node) {
    const Type &a = *node.args[0]->type, &b = *node.args[1]->type;
    bool library = a.kind() == TypeKind::opaque && !a.is_optional() && same_type(a, b) && node.name == "_==_";
    if (library) return Range::fixed(1);
    return smaller(size_or_unknown(*node.args[0]), size_or_unknown(*node.args[1]));
  }

  void join_entries(const Node& node) {
    auto a = entries(*node.args[0]), b = entries(*node.args[1]);
    if (a && b) entries_[&node] = {a->key.join(b->key), a->value.join(b->value)};
  }

  Range conditional(const Node& node, std::optional<Range>& result) {
    const Node &yes = *node.args[1], &no = *node.args[2];
    result = size_or_unknown(yes).join(size_or_unknown(no));
    auto a = entries(yes), b = entries(no);
    if (a && b) entries_[&node] = {a->key.join(b->key), a->value.join(b->value)};
    return cost(*node.args[0]) + cost(yes).join(cost(no));
  }

  Range walk(const Node& node) {
    Range each = Range::fixed(1);
    const Type& type = *node.args[0]->type;
    if (!type.parameters().empty()) {
      TypeKind item = type.parameters()[0]->kind();
      if (item == TypeKind::string || item == TypeKind::bytes) each = each + item_size(*node.args[0]).times(kTraversal);
      return size_or_unknown(*node.args[0]) * each;
    }
    return size_or_unknown(*node.args[0]).times(kTraversal);
  }

  Range join(const Node& node, std::optional<Range>& result) {
    Range items = size_or_unknown(*node.args[0]), total;
    if (!node.args[0]->type->parameters().empty()) total = items * item_size(*node.args[0]);
    if (node.args.size() > 1) total = total + size_or_unknown(*node.args[1]) * Range{items.min ? items.min - 1 : 0, items.max ? items.max - 1 : 0};
    result = total;
    return total.times(kTraversal);
  }

  static Range replaced(Range text, Range from, Range to) {
    Range count, kept;
    if (from.min == 0) count.max = add(text.max, 1), kept.max = text.max;
    else if (to.max <= from.min) kept.max = text.max;
    else count.max = scale(text.max, 1.0 / static_cast<double>(from.min));
    if (from.max == 0) count.min = add(text.min, 1), kept.min = text.min;
    else if (from.max <= to.min) kept.min = text.min;
    else count.min = scale(text.min, 1.0 / static_cast<double>(from.max));
    return count * to + kept;
  }

  // The value of an argument where it is written as a number.
  static uint64_t literal_or(const Node& node, uint64_t otherwise) {
    if (node.kind != NodeKind::literal || !node.constant.is(Kind::integer)) return otherwise;
    return static_cast<uint64_t>(std::max<int64_t>(0, node.constant.as_integer()));
  }

  Range allocating(const Node& node, const Overload& overload, std::optional<Range>& result) {
    const NodePtr& first = node.args[0];
    Range list = size_or_unknown(*first);
    double factor = 1;
    if (overload.cost == CostRule::range) list = Range::fixed(literal_or(*first, UINT64_MAX));
    if (overload.cost == CostRule::slice && node.args.size() == 3) {
      uint64_t start = literal_or(*node.args[1], 0), end = literal_or(*node.args[2], list.max);
      list = Range::fixed(end > start ? end - start : 0);
    }
    if (overload.cost == CostRule::flatten && node.args.size() == 2) factor = static_cast<double>(literal_or(*node.args[1], UINT64_MAX));
    if (overload.cost == CostRule::distinct) list = list * list, factor = 2;
    if (overload.cost == CostRule::sort) {
      Range keys = size_or_unknown(*node.args.back());
      TypeKind item = overload.parameters.back()->parameters()[0]->kind();
      list = keys * keys, factor = item == TypeKind::string || item == TypeKind::bytes ? 2 + kTraversal : 2;
    }
    result = list;
    return list.times(factor) + Range::fixed(1 + kListCost);
  }

  const Environment& environment_;
  std::vector<Local> locals_;
  std::unordered_map<const Node*, Range> costs_, sizes_, fallback_sizes_;
  std::unordered_map<const Node*, EntrySizes> entries_;
  std::unordered_map<const Node*, const Type*> paths_;
};

}  // namespace

Range Range::operator+(Range other) const { return {add(min, other.min), add(max, other.max)}; }
Range Range::operator*(Range other) const { return {multiply(min, other.min), multiply(max, other.max)}; }
Range Range::times(double factor) const { return {scale(min, factor), scale(max, factor)}; }
Range Range::join(Range other) const { return {std::min(min, other.min), std::max(max, other.max)}; }

CostEstimate estimate_cost(const Node& root, const Environment& environment) {
  Range range = Estimator(environment).cost(root);
  return {range.min, range.max};
}

}  // namespace kcube::cel
