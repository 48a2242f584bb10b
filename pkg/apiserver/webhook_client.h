// Calls to webhooks: admission's, and conversion's of CustomResourceDefinitions.
//
// Owned by the Server, one of them; thread-safe. post() blocks for at most the timeout it is given and holds no lock
// meanwhile. Connections are kept and shared by webhooks with the same CA and name. Source: the API reference of
// WebhookClientConfig (admissionregistration.k8s.io/v1 and apiextensions.k8s.io/v1 have the same one).
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "pkg/apiserver/core.h"
#include "pkg/http/client.h"

namespace kcube::apiserver {

class WebhookClient {
 public:
  explicit WebhookClient(Core& core) : core_(core) {}
  // POSTs `review` to where `config` says (url, or service and caBundle) and returns the JSON body of a 200. Fails (500)
  // with what kube-apiserver says after "failed to call webhook: ", such as `Post "https://a.b.svc:443/x?timeout=10s":
  // context deadline exceeded`; the caller says which webhook it was.
  Result<json::value> post(const json::value& config, const json::value& review, std::chrono::milliseconds timeout);

 private:
  struct Target {
    std::string shown;         // the URL in messages
    std::string url;           // where it really is
    std::string host;          // for the Host header, and to verify when `verify_name` is set
    std::string verify_name;
  };
  Result<Target> locate(const json::value& config, std::chrono::milliseconds timeout) const;
  std::shared_ptr<http::Client> client_for(const std::string& ca_pem, const std::string& server_name);

  Core& core_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<http::Client>> clients_;   // by CA and name
};

}  // namespace kcube::apiserver
