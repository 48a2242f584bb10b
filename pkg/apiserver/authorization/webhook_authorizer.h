// Decisions of a webhook: a SubjectAccessReview is sent, the answer kept for a while. Thread-safe.
// Source: the Kubernetes docs on webhook mode and on structured authorization configuration.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "pkg/apiserver/authorizer.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/base/clock.h"

namespace kcube::apiserver {

class WebhookAuthorizer {
 public:
  WebhookAuthorizer(const AuthorizerConfig& config, Clock& clock) : config_(config), clock_(clock), client_(*config.webhook, config.timeout) {}
  AccessDecision decide(const auth::Attributes& attributes);

 private:
  struct Kept {
    AccessDecision decision;
    SteadyTime until;
  };
  // What is said without asking it: its conditions do not all hold. Nothing when it is to be asked.
  std::optional<AccessDecision> exempt(const auth::Attributes& attributes) const;
  static json::value condition_request(const auth::Attributes& attributes);

  const AuthorizerConfig config_;
  Clock& clock_;
  const ConfiguredWebhook client_;
  std::mutex mutex_;
  std::unordered_map<std::string, Kept> kept_;   // by the hash of the question
};

// spec of a SubjectAccessReview.
json::object review_spec(const auth::Attributes& attributes);

}  // namespace kcube::apiserver
