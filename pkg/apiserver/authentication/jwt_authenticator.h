// Tokens of one OpenID Connect issuer: its keys by discovery, its claims to a user. Thread-safe; asks the issuer when a
// key is unknown, and not more often than every ten seconds. Source: OpenID Connect Core and Discovery; the Kubernetes docs
// on OIDC tokens and on structured authentication configuration.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/auth/jwt.h"
#include "pkg/base/clock.h"
#include "pkg/http/client.h"

namespace kcube::apiserver {

class JwtAuthenticator {
 public:
  JwtAuthenticator(JwtIssuer issuer, Clock& clock);
  const std::string& url() const { return issuer_.url; }
  // `token`'s claims say that it is by this issuer.
  Result<auth::User> authenticate(const auth::Jwt& token, const json::value& claims);

 private:
  using Keys = std::multimap<std::string, std::shared_ptr<const auth::PublicKey>>;
  Result<void> verify(const auth::Jwt& token);
  std::shared_ptr<const Keys> keys(bool refresh);
  Result<Keys> fetch_keys() const;
  Result<auth::User> user_of(const json::value& claims) const;

  const JwtIssuer issuer_;
  Clock& clock_;
  const std::unique_ptr<http::Client> client_;
  std::mutex mutex_;                          // of the members below; fetch_mutex_ is held while the issuer is asked
  std::mutex fetch_mutex_;
  std::shared_ptr<const Keys> keys_;
  SteadyTime fetched_{};
  bool asked_ = false;
};

}  // namespace kcube::apiserver
