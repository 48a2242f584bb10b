// JSONPath as kubectl and printer columns know it: .a.b, ['a'], [0], [-1], [1:3], [*], .., ?(@.x == "y").
// Source: the Kubernetes docs on JSONPath support.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/json.h"

namespace kcube::apiserver::extension {

class JsonPath {
 public:
  // 400 with what is wrong. The path as in a definition: with its leading '.', without braces.
  static Result<JsonPath> parse(std::string_view text);
  // What it finds in `root`, in order; empty when a member on the way is missing.
  std::vector<const json::value*> find(const json::value& root) const;

 private:
  struct Step {
    enum class Kind { member, index, slice, all, recursive, filter };
    Kind kind = Kind::member;
    std::vector<std::string> names;           // of member
    int64_t first = 0, last = 0, step = 1;    // of index and slice
    bool has_first = false, has_last = false;
    // Of filter: `left op right`; an empty op asks whether left is there. Literals are values, paths have steps.
    std::shared_ptr<const JsonPath> left_path, right_path;
    json::value left, right;
    std::string op;
  };
  static void apply(const Step& step, const json::value& value, std::vector<const json::value*>& out);
  static bool holds(const Step& filter, const json::value& element);

  std::vector<Step> steps_;
};

}  // namespace kcube::apiserver::extension
