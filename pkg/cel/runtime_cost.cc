#include <algorithm>
#include <cmath>

#include "pkg/cel/cost.h"

namespace kcube::cel {
namespace {

uint64_t scaled(uint64_t n, double factor) { return static_cast<uint64_t>(std::ceil(static_cast<double>(n) * factor)); }
uint64_t traverse(const Value& v) { return scaled(cost_size(v), kTraversal); }

uint64_t regex(const Value& text, uint64_t pattern_size) {
  return scaled(cost_size(text) + 1, kTraversal) * scaled(pattern_size, kRegexLength);
}

// A walk over the whole tree; text counts a tenth, rounded down.
uint64_t walk(const Value& v) {
  switch (v.kind()) {
    case Kind::string: case Kind::bytes: return static_cast<uint64_t>(static_cast<double>(v.as_text().size()) * kTraversal);
    case Kind::list: {
      uint64_t cost = 0;
      for (size_t i = 0; i < v.size(); ++i) cost += walk(v.at(i));
      return cost;
    }
    case Kind::map: {
      uint64_t cost = 0;
      v.for_each([&](const Value& key, const Value& value) { return cost += walk(key) + walk(value), true; });
      return cost;
    }
    default: return 1;
  }
}

// Each item with each other.
uint64_t compare_all(const Value& list) {
  uint64_t size = cost_size(list);
  bool text = size > 0 && (list.at(0).is(Kind::string) || list.at(0).is(Kind::bytes));
  return static_cast<uint64_t>(static_cast<double>(size) * static_cast<double>(size) * (text ? 2 + kTraversal : 2)) + 1 + kListCost;
}

}  // namespace

bool cost_needs_result(CostRule rule) { return rule == CostRule::join || rule == CostRule::slice; }

uint64_t cost_size(const Value& v) {
  switch (v.kind()) {
    case Kind::string: case Kind::bytes: case Kind::list: case Kind::map: return v.size();
    case Kind::optional: return v.contained() ? cost_size(*v.contained()) : 1;
    case Kind::opaque: return v.as_opaque().cost_size();
    default: return 1;
  }
}

uint64_t call_cost(CostRule rule, Arguments a, const Value& result) {
  switch (rule) {
    case CostRule::traverse: case CostRule::substring: case CostRule::url: case CostRule::to_bytes: case CostRule::to_text: case CostRule::quote:
    case CostRule::format_text:
      return traverse(a[0]);
    case CostRule::traverse_twice: case CostRule::replace: case CostRule::split: return scaled(cost_size(a[0]), 2 * kTraversal);
    case CostRule::join: return scaled(cost_size(result), 2 * kTraversal);
    case CostRule::in_list: return cost_size(a[1]);
    case CostRule::equality:
      if (a[0].is(Kind::opaque)) return 1;
      [[fallthrough]];
    case CostRule::order: return scaled(std::min(cost_size(a[0]), cost_size(a[1])), kTraversal);
    case CostRule::add_text: return scaled(cost_size(a[0]) + cost_size(a[1]), kTraversal);
    case CostRule::matches: return regex(a[0], cost_size(a[1]));
    case CostRule::contains: return traverse(a[0]) * traverse(a[1]);
    case CostRule::walk_list: case CostRule::walk_text: return walk(a[0]);
    case CostRule::selector: {
      uint64_t size = cost_size(a[1]);
      return kListCost + scaled(size, kTraversal) + scaled(scaled(size, 0.5), kListCost + kObjectCost);
    }
    case CostRule::authorize: return kAuthorizationCost;
    case CostRule::validate: return regex(a[1], cost_size(a[0]));
    case CostRule::contains_ip: return scaled(2 * cost_size(a[0]), kTraversal);
    case CostRule::contains_ip_text: return scaled(2 * cost_size(a[0]), kTraversal) + traverse(a[1]);
    case CostRule::contains_cidr: return scaled(2 * cost_size(a[0]), kTraversal) + traverse(a[0]) + 1;
    case CostRule::contains_cidr_text: return scaled(2 * cost_size(a[0]), kTraversal) + traverse(a[0]) + 1 + traverse(a[1]);
    case CostRule::sets: return cost_size(a[0]) * cost_size(a[1]) + 1;
    case CostRule::sets_twice: return 2 * cost_size(a[0]) * cost_size(a[1]) + 1;
    case CostRule::range: return static_cast<uint64_t>(std::max<int64_t>(0, a[0].as_integer())) + 1 + kListCost;
    case CostRule::slice: return (result.is(Kind::list) ? cost_size(result) : 1) + 1 + kListCost;
    case CostRule::flatten: {
      uint64_t depth = a.size() == 2 ? static_cast<uint64_t>(std::clamp<int64_t>(a[1].as_integer(), 0, 1'000'000'000)) : 1;
      return depth * cost_size(a[0]) + 1 + kListCost;
    }
    case CostRule::distinct: return compare_all(a[0]);
    case CostRule::sort: return compare_all(a.back());
    default: return 1;
  }
}

}  // namespace kcube::cel
