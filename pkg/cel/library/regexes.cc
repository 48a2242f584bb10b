// matches, find and findAll.
#include "pkg/cel/functions.h"
#include "pkg/cel/regex.h"

namespace kcube::cel {
namespace {

// The pattern compiled with the program, or now.
Result<std::shared_ptr<const Regex>> pattern(Arguments a, const Node& call) {
  if (call.regex) return call.regex;
  return Regex::compile(a[1].as_text());
}

Value matches(Arguments a, const Node& call) {
  if (call.regex) return Value::boolean(call.regex->matches(a[0].as_text()));
  auto regex = pattern(a, call);
  return regex ? Value::boolean((*regex)->matches(a[0].as_text())) : Value::failure(regex.error().message());
}

Value illegal(const Status& error) { return Value::failure("Illegal regex: " + error.message()); }

Value find(Arguments a, const Node& call) {
  auto regex = pattern(a, call);
  if (!regex) return illegal(regex.error());
  std::vector<std::string_view> found = (*regex)->find_all(a[0].as_text(), 1);
  return found.empty() ? Value::text("") : Value::string(std::string(found[0]));
}

Value find_all(Arguments a, const Node& call) {
  auto regex = pattern(a, call);
  if (!regex) return illegal(regex.error());
  std::vector<Value> out;
  for (std::string_view found : (*regex)->find_all(a[0].as_text(), a.size() == 3 ? a[2].as_integer() : -1)) out.push_back(Value::string(std::string(found)));
  return Value::list(std::move(out));
}

constexpr FunctionRow kRows[]{
    {"matches", "(string, string) bool", matches, CostRule::matches},
    {"matches", ".(string, string) bool", matches, CostRule::matches},
    {"find", ".(string, string) string", find, CostRule::matches},
    {"findAll", ".(string, string) list(string)", find_all, CostRule::matches},
    {"findAll", ".(string, string, int) list(string)", find_all, CostRule::matches},
};

}  // namespace

std::span<const FunctionRow> regex_functions() { return kRows; }

}  // namespace kcube::cel
