// Expressions of an AuthenticationConfiguration: what a token's claims make of its bearer, and what must hold of both.
// Compiled once, immutable. Source: the Kubernetes docs on structured authentication configuration; kube-apiserver's texts.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/auth/auth.h"
#include "pkg/cel/program.h"

namespace kcube::apiserver {

struct ClaimExpressions {
  using ProgramPtr = std::shared_ptr<const cel::Program>;
  struct Rule {
    std::string message;
    ProgramPtr program;
  };
  ProgramPtr username, groups, uid;                       // null: by the name of a claim, or not at all
  std::vector<std::pair<std::string, ProgramPtr>> extra;  // by key
  std::vector<Rule> claim_rules, user_rules;
};

// Those of one entry of `jwt`; null when it has none. 400 naming the field of what does not compile.
Result<std::shared_ptr<const ClaimExpressions>> read_claim_expressions(const json::value& jwt);

// Fills in what expressions say of the user, and applies the rules about claims. The error is what to put after "oidc: ".
Result<void> map_claims(const ClaimExpressions& expressions, const json::value& claims, auth::User& user);
// The rules about the user that came of it all.
Result<void> check_user(const ClaimExpressions& expressions, const auth::User& user);

}  // namespace kcube::apiserver
