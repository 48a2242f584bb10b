// The type checker: gives every node its type and every call its overloads, in cel-go's order and words.
#pragma once

#include "pkg/cel/ast.h"
#include "pkg/cel/environment.h"

namespace kcube::cel {

// Reports what is wrong; the tree is usable when nothing was. Names that stand for types become literals.
void check(Node& root, const Environment& environment, Issues& issues);

}  // namespace kcube::cel
