// Field selectors: which labels each resource knows, and matching without parsing the object.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/api/schema.h"
#include "pkg/api/selector.h"

namespace kcube::apiserver {

struct Resource;

class FieldMatcher {
 public:
  FieldMatcher() = default;  // matches everything
  // 400 with the real server's words when a label is not known for `resource`.
  static Result<FieldMatcher> create(const Resource& resource, std::string_view selector);
  bool matches(const api::Object& object) const;
  bool everything() const { return terms_.empty(); }
  // What the label must equal; empty when it is not bound.
  std::string_view bound(std::string_view label) const;

 private:
  struct Term {
    std::string label, path, value;
    bool negated = false;
    bool zero_default = false;   // an absent value reads as "0" or "false"
    std::string_view absent;
  };
  std::vector<Term> terms_;
};

}  // namespace kcube::apiserver
