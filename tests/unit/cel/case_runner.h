// Table-driven cases: an expression over JSON variables, and what comes out.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>

#include "pkg/cel/program.h"

namespace kcube::cel {

struct Case {
  std::string_view expression;
  // The result: strings as they are, null, true, 1, 1u, 1.5, [..] and {..} as JSON, "error: …", or "compile: …" (without
  // the location, which errors_test.cc looks at).
  std::string_view expected;
};

// The variables are `variables`' members, declared dyn.
std::string run_case(std::string_view expression, std::string_view variables = "{}");
void run_cases(std::span<const Case> cases, std::string_view variables = "{}");

}  // namespace kcube::cel
