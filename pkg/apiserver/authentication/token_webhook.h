// Tokens that a webhook knows: a TokenReview is sent, the answer kept for a while. Thread-safe.
// Source: the Kubernetes docs on webhook token authentication.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "pkg/apiserver/security_options.h"
#include "pkg/base/clock.h"

namespace kcube::apiserver {

class TokenWebhookAuthenticator {
 public:
  TokenWebhookAuthenticator(const TokenWebhook& options, Clock& clock) : options_(options), clock_(clock), client_(options.target) {}
  struct Answer {
    auth::User user;
    std::vector<std::string> audiences;
  };
  // nullopt when the webhook does not know the token; fails when it cannot be asked.
  Result<std::optional<Answer>> authenticate(const std::string& token, const std::vector<std::string>& audiences);

 private:
  Result<std::optional<Answer>> ask(const std::string& token, const std::vector<std::string>& audiences) const;
  struct Kept {
    std::optional<Answer> answer;
    SteadyTime until;
  };
  const TokenWebhook options_;
  Clock& clock_;
  const ConfiguredWebhook client_;
  std::mutex mutex_;
  std::unordered_map<std::string, Kept> kept_;   // by the hash of token and audiences: no secrets in memory
};

}  // namespace kcube::apiserver
