// One registry, spoken to with one credential. Source: OCI distribution-spec v1.1; Docker's token authentication.
// Thread-safe; each thread brings its own HttpSession.
#pragma once

#include <mutex>
#include <string>

#include "runtime/images/http_session.h"

namespace kcube::runtime::images {

class RegistryClient {
 public:
  RegistryClient(Endpoint endpoint, RegistryAuth auth) : endpoint_(std::move(endpoint)), auth_(std::move(auth)) {}
  const Endpoint& endpoint() const { return endpoint_; }
  // GET of "manifests/…" or "blobs/…" of the repository; `request` gives the rest. Answers a 401 with credentials once.
  Result<HttpResponse> get(HttpSession& session, const std::string& path, HttpRequest request);

 private:
  std::string authorization();
  // From the challenges of a 401: the header to send, kept for later requests.
  Result<std::string> authorize(HttpSession& session, const HttpResponse& refusal);
  Result<std::string> fetch_token(HttpSession& session, std::string_view challenge);

  Endpoint endpoint_;
  RegistryAuth auth_;
  std::mutex mutex_;  // guards authorization_
  std::string authorization_;
};

// What a registry's refusal says: "UNAUTHORIZED: authentication required", or the status when it says nothing.
std::string registry_words(const HttpResponse& response);
// 401 and 403 with the reason ErrImagePull, 404, 429, else 503.
Status refusal(const HttpResponse& response, const std::string& what);

}  // namespace kcube::runtime::images
