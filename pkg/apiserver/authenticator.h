// Who makes a request: client certificate, service account token, bootstrap token, static token, or nobody (anonymous).
//
// Thread-safe; reads the cache for what a token is bound to. Source: the Kubernetes docs on authentication; claims of
// bound service account tokens observed from kube-apiserver.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pkg/apiserver/core.h"
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

class Authenticator {
 public:
  // `issuer` is the tokens' iss, and the default audience.
  Authenticator(const Cache& cache, Clock& clock, const auth::TokenSigner& signer, std::string issuer)
      : cache_(cache), clock_(clock), signer_(signer), issuer_(std::move(issuer)) {}

  // 401 when credentials came that are not good; the anonymous user when none came.
  Result<auth::User> authenticate(const http::Request& request) const;
  // A bearer token alone, for `audiences` (empty: the server's own). 401 when it is not good.
  Result<auth::User> authenticate_token(const std::string& token, const std::vector<std::string>& audiences) const;
  // The signed token and when it ends.
  Result<std::pair<std::string, SystemTime>> issue(const TokenRequest& request) const;
  const std::string& issuer() const { return issuer_; }
  std::string jwks() const;

 private:
  Result<auth::User> service_account(const std::string& token, const std::vector<std::string>& audiences) const;
  Result<auth::User> bootstrap_token(const std::string& token) const;
  bool still_bound(const json::value& claims) const;

  const Cache& cache_;
  Clock& clock_;
  const auth::TokenSigner& signer_;
  const std::string issuer_;
};

}  // namespace kcube::apiserver
