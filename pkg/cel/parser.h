// From source to tree, macros expanded.
#pragma once

#include <string_view>

#include "pkg/cel/ast.h"

namespace kcube::cel {

inline constexpr size_t kMaxSourceLength = 100'000;   // code points, as in cel-go
inline constexpr int kMaxDepth = 250;                 // of parentheses, and of one chain of operators
inline constexpr uint32_t kMaxTreeDepth = 1000;       // of everything: what walks the tree recurses

// Null when anything was reported. `bindings`: cel.bind() is a macro.
NodePtr parse(std::string_view source, Issues& issues, bool bindings = false);

// macros.cc: what `call` stands for when it names a macro with so many arguments, else the call itself. Null after a
// report.
NodePtr expand_macro(NodePtr call, Issues& issues, bool bindings);

// The name of hidden accumulators.
inline constexpr std::string_view kAccumulator = "@result";

}  // namespace kcube::cel
