// What operations cost, counted while evaluating and estimated from declared types: Kubernetes' figures, on which limits of
// policies and CRDs rest.
#pragma once

#include <cstdint>

#include "pkg/cel/ast.h"
#include "pkg/cel/functions.h"
#include "pkg/cel/program.h"

namespace kcube::cel {

inline constexpr uint64_t kNameCost = 1;             // of an identifier or a selection
inline constexpr uint64_t kListCost = 10;
inline constexpr uint64_t kMapCost = 30;
inline constexpr uint64_t kObjectCost = 40;
inline constexpr double kTraversal = 0.1;            // for each character
inline constexpr double kRegexLength = 0.25;         // for each character of a pattern
inline constexpr uint64_t kAuthorizationCost = 350'000;

// Of a call with these arguments (the target first) and result.
uint64_t call_cost(CostRule rule, Arguments arguments, const Value& result);
// Whether call_cost() looks at the result. Others are charged before the call, so that what is too expensive never runs.
bool cost_needs_result(CostRule rule);
// size() to the cost tracker: of text in code points, 1 for scalars.
uint64_t cost_size(const Value& value);

// Saturating range of costs or sizes.
struct Range {
  uint64_t min = 0, max = 0;
  static Range fixed(uint64_t n) { return {n, n}; }
  static Range unknown() { return {0, UINT64_MAX}; }
  Range operator+(Range other) const;
  Range operator*(Range other) const;
  Range times(double factor) const;                  // rounded up
  Range join(Range other) const;
};

// The worst case over all values of the declared types.
CostEstimate estimate_cost(const Node& root, const Environment& environment);

}  // namespace kcube::cel
