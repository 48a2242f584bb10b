// After checking: gives local variables their slots, resolves what is constant, and marks calls that are not functions.
#pragma once

#include <string>
#include <vector>

#include "pkg/cel/ast.h"

namespace kcube::cel {

struct Plan {
  std::vector<std::string> variables;        // declared variables that the expression names
  size_t slots = 0;                          // local variables at once
};

// Literal patterns, durations and timestamps that are malformed are reported, as Kubernetes' validators do.
Plan plan(Node& root, Issues& issues);

}  // namespace kcube::cel
