// A webhook that a kubeconfig file names: where it is, how we know it and how it knows us. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "pkg/api/json.h"
#include "pkg/http/client.h"

namespace kcube::apiserver {

struct WebhookTarget {
  std::string url, authorization;        // the header's value, may be empty
  http::ClientTls tls;
};
// The cluster and user of the current context, or the first of each. 400 with the path when it cannot be used.
Result<WebhookTarget> read_webhook_kubeconfig(const std::string& path);

class ConfiguredWebhook {
 public:
  explicit ConfiguredWebhook(WebhookTarget target, std::chrono::milliseconds timeout = std::chrono::seconds(30));
  // POSTs `body` and returns what came back. Tries again, with a growing pause, while the webhook is out of reach or
  // answers 429 or 5xx.
  Result<json::value> post(const json::value& body) const;

 private:
  const WebhookTarget target_;
  const std::chrono::milliseconds timeout_;
  const std::unique_ptr<http::Client> client_;
};

}  // namespace kcube::apiserver
