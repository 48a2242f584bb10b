// The rules of each resource, and the few helpers that all of them use. Private to machinery.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/errors.h"
#include "pkg/api/json.h"

namespace kcube::machinery {

// One object under examination. Rules add to `causes`.
struct Validation {
  std::string_view subresource;        // of the request; "" is the resource itself
  const json::value& object;
  const json::value* old;              // null: a creation
  std::vector<Cause>& causes;

  void add(Cause cause) const { causes.push_back(std::move(cause)); }
};
using Rule = void (*)(const Validation&);

void validate_config_map(const Validation& v);

}  // namespace kcube::machinery
