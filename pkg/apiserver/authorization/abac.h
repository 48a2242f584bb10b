// ABAC: a file of policies, one JSON object a line, each allowing something. Pure. Source: the Kubernetes docs on ABAC.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/auth/auth.h"

namespace kcube::apiserver {

class AbacPolicy {
 public:
  // 400 with the line's number when one is malformed.
  static Result<AbacPolicy> parse(std::string_view text);
  bool allows(const auth::Attributes& attributes) const;

 private:
  struct Rule {
    std::string user, group, ns, resource, api_group, path;
    bool readonly = false;
  };
  static bool matches(const Rule& rule, const auth::Attributes& a);
  std::vector<Rule> rules_;
};

}  // namespace kcube::apiserver
