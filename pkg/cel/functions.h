// The table of all functions: their types, what runs them, what they cost. Made once, immutable.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/cel/ast.h"
#include "pkg/cel/type.h"
#include "pkg/cel/value.h"

namespace kcube::cel {

// How a call's cost grows (cost.h). "traverse" is a tenth of the size, rounded up.
enum class CostRule : uint8_t {
  unit,             // 1
  traverse,         // the first operand
  traverse_twice,   // the first operand, and a result of its size
  in_list,          // the items of the second
  equality,         // the smaller operand
  order,            // the smaller operand, of text
  add_text,         // both
  add_list,         // 1, but the result is as large as both
  matches,          // the first times the pattern
  contains,         // the first times the second
  walk_list,        // every item, and what its text costs
  walk_text,        // a string searched by indexOf
  join, replace, split, substring, url, to_bytes, to_text, quote,
  selector, authorize, validate,
  contains_ip, contains_ip_text, contains_cidr, contains_cidr_text,
  sets, sets_twice, format_text, flatten, sort, range, slice, distinct,
};

using Arguments = std::span<const Value>;
// Arguments are no errors and have kinds that the parameters allow. Errors are Value::failure().
using Implementation = Value (*)(Arguments arguments, const Node& call);

// A row as the libraries write it: {"startsWith", ".(string, string) bool", starts_with, CostRule::traverse}. A dot makes it
// a member; A, B are type parameters.
struct FunctionRow {
  std::string_view name, signature;
  Implementation run;
  CostRule cost = CostRule::unit;
};

struct Overload {
  std::string_view function;
  bool member = false;
  bool generic = false;                      // has type parameters
  std::vector<TypeRef> parameters;
  TypeRef result;
  Implementation run = nullptr;
  CostRule cost = CostRule::unit;
};

class Functions {
 public:
  static const Functions& builtin();
  // The overloads of a function, in order; empty when there is no such function.
  std::span<const Overload> find(std::string_view name) const;
  // The type that a name stands for in expressions: int, google.protobuf.Timestamp …; null when none.
  static const TypeRef* find_type(std::string_view name);

 private:
  Functions();
  void add(std::span<const FunctionRow> rows);
  std::vector<Overload> overloads_;          // sorted by name
};

// Whether a value may be given for a parameter of that type.
bool accepts(const Type& parameter, const Value& value);

// One for each file of the libraries.
std::span<const FunctionRow> operator_functions();
std::span<const FunctionRow> conversion_functions();
std::span<const FunctionRow> time_functions();
std::span<const FunctionRow> optional_functions();
std::span<const FunctionRow> string_functions();
std::span<const FunctionRow> format_text_functions();
std::span<const FunctionRow> list_functions();
std::span<const FunctionRow> set_functions();
std::span<const FunctionRow> regex_functions();
std::span<const FunctionRow> url_functions();
std::span<const FunctionRow> ip_functions();
std::span<const FunctionRow> named_format_functions();
std::span<const FunctionRow> quantity_functions();
std::span<const FunctionRow> semver_functions();
std::span<const FunctionRow> authorizer_functions();
std::span<const FunctionRow> mutation_functions();

// Types of the libraries by the short names that signatures use.
const TypeRef& url_type();
const TypeRef& ip_type();
const TypeRef& cidr_type();
const TypeRef& quantity_type();
const TypeRef& semver_type();
const TypeRef& named_format_type();
const TypeRef& path_check_type();
const TypeRef& group_check_type();
const TypeRef& decision_type();

}  // namespace kcube::cel
