// Who makes a request, by the first authenticator of the chain that knows: request headers of an aggregator, client
// certificate, then tokens (static file, service account, bootstrap, OpenID Connect, webhook), or nobody (anonymous).
//
// Thread-safe; reads the cache for what a token is bound to. Source: the Kubernetes docs on authentication; claims of
// bound service account tokens observed from kube-apiserver.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "pkg/apiserver/authentication/jwt_authenticator.h"
#include "pkg/apiserver/authentication/token_webhook.h"
#include "pkg/apiserver/core.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/auth/jwt.h"
#include "pkg/http/server.h"

namespace kcube::apiserver {

// What a new token says beside its service account.
struct TokenRequest {
  std::string ns, service_account, service_account_uid;
  std::vector<std::string> audiences;
  std::chrono::seconds lifetime{3600};
  // Bound object, all empty for none: kind is Pod, Secret or Node.
  std::string bound_kind, bound_name, bound_uid;
  std::string node_name, node_uid;     // of a bound pod, when it has one
};

// A user, and for which of the audiences asked about the token is.
struct Authenticated {
  auth::User user;
  std::vector<std::string> audiences;
};

class Authenticator {
 public:
  // `options` outlives this. Its first issuer is the tokens' iss.
  static Result<std::unique_ptr<Authenticator>> create(const Cache& cache, Clock& clock, const auth::TokenSigner& signer, const SecurityOptions& options);

  // 401 when credentials came that are not good; the anonymous user when none came.
  Result<auth::User> authenticate(const http::Request& request) const;
  // A bearer token alone, for `audiences` (empty: the server's own). 401 when it is not good.
  Result<Authenticated> authenticate_token(const std::string& token, const std::vector<std::string>& audiences) const;
  // The signed token and when it ends.
  Result<std::pair<std::string, SystemTime>> issue(const TokenRequest& request) const;
  const std::string& issuer() const { return options_.service_account_issuers.front(); }
  const std::vector<std::string>& api_audiences() const { return options_.api_audiences; }
  const std::string& jwks_uri() const { return options_.jwks_uri; }
  std::string jwks() const;
  // With which the keys of jwks() sign.
  std::vector<std::string> algorithms() const;

 private:
  Authenticator(const Cache& cache, Clock& clock, const auth::TokenSigner& signer, const SecurityOptions& options) : cache_(cache), clock_(clock), signer_(signer), options_(options) {}

  struct CertificateFacts {
    bool aggregator = false;           // signed by the CA of request headers
    std::string credential_id;
  };
  CertificateFacts facts_of(const http::Request& request) const;
  std::optional<auth::User> by_request_header(const http::Request& request) const;
  Result<auth::User> anonymous(const http::Request& request) const;

  bool verify_own(const auth::Jwt& token) const;
  Result<Authenticated> service_account(const auth::Jwt& token, const json::value& claims, const std::vector<std::string>& audiences) const;
  Result<Authenticated> legacy_service_account(const std::string& token, const json::value& claims, const std::vector<std::string>& audiences) const;
  Result<auth::User> bootstrap_token(const std::string& token) const;
  bool still_bound(const json::value& claims) const;

  const Cache& cache_;
  Clock& clock_;
  const auth::TokenSigner& signer_;
  const SecurityOptions& options_;
  std::vector<std::shared_ptr<const auth::PublicKey>> keys_;           // of service account tokens, the signer's first
  std::unordered_map<std::string, const auth::User*> static_tokens_;
  std::vector<std::unique_ptr<JwtAuthenticator>> issuers_;
  std::unique_ptr<TokenWebhookAuthenticator> webhook_;
  // What was found out about client certificates, by their bytes: one comes with every request of its connection.
  mutable std::mutex certificates_mutex_;
  mutable std::unordered_map<std::string, CertificateFacts> certificates_;
};

}  // namespace kcube::apiserver
