// Who may do what: system:masters, then the authorizers of the chain until one decides (by default Node and RBAC).
//
// The index of rules by subject is rebuilt when a role or binding has changed, at the next question. Thread-safe.
// Source: the Kubernetes docs on RBAC and on node authorization.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "pkg/apiserver/cache.h"
#include "pkg/auth/auth.h"
#include "pkg/base/clock.h"

namespace kcube::apiserver {

struct AccessDecision {
  bool allowed = false, denied = false;   // neither: no opinion
  std::string reason;
};

class WebhookAuthorizer;
struct AuthorizerConfig;

class Authorizer {
 public:
  explicit Authorizer(const Cache& cache);
  ~Authorizer();
  // Before the first decision. None: Node, RBAC.
  void configure(const std::vector<AuthorizerConfig>& chain, Clock& clock);

  using Decision = AccessDecision;
  Decision decide(const auth::Attributes& attributes) const;
  // Every rule that holds for `user` in `ns` (empty: cluster-wide ones alone).
  std::vector<auth::PolicyRule> rules_of(const auth::User& user, std::string_view ns) const;
  // Why rules_of() may not be all that `user` may do; empty when it is.
  std::string unresolved(const auth::User& user) const;
  // The rules of a role that a binding in `ns` names; null when there is no such role.
  std::shared_ptr<const std::vector<auth::PolicyRule>> role_rules(std::string_view ns, std::string_view kind, std::string_view name) const;

 private:
  using Rules = std::shared_ptr<const std::vector<auth::PolicyRule>>;
  struct Grant {
    std::string ns;                     // empty: everywhere
    Rules rules;
    std::string binding, role, subject; // for the reason
  };
  struct Index {
    uint64_t revisions[4] = {};
    std::unordered_map<std::string, std::vector<Grant>> by_subject;   // "u:NAME", "g:GROUP"
  };
  std::shared_ptr<const Index> index() const;
  void add_bindings(Index& index, std::string_view resource, bool cluster) const;
  template <typename Visit>
  void each_grant(const auth::User& user, std::string_view ns, const Visit& visit) const;
  bool node_may(const auth::Attributes& a, std::string_view node, std::string& reason) const;
  bool pod_of_node_uses(std::string_view node, std::string_view resource, std::string_view ns, std::string_view name) const;

  // One link of the chain.
  using Link = std::function<Decision(const auth::Attributes&)>;
  Decision decide_node(const auth::Attributes& a) const;
  Decision decide_rbac(const auth::Attributes& a) const;

  const Cache& cache_;
  std::vector<Link> chain_;
  std::vector<std::unique_ptr<WebhookAuthorizer>> webhooks_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Index> index_;
};

// {apiGroups, resources, …} of a Role.
std::vector<auth::PolicyRule> read_rules(const json::value* rules);

}  // namespace kcube::apiserver
