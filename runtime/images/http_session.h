// Requests to registries over libcurl: blocking, with the body going where the caller wants it. One thread each; cancel
// from any. Obeys https_proxy and its kin but for this machine itself.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pkg/base/status.h"
#include "runtime/images/registries.h"

namespace kcube::runtime::images {

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;                                          // of failures, and of successes without a sink
  std::string_view header(std::string_view name) const;
};

struct HttpRequest {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string form;                    // when not empty: POST, application/x-www-form-urlencoded
  uint64_t max_body_bytes = 16 << 20;  // of HttpResponse::body
  // For 200 and 206 only: once before the body, then piece by piece. A failure ends the transfer and is returned.
  std::function<Result<void>(const HttpResponse&)> on_head;
  std::function<Result<void>(std::string_view)> on_data;
};

class HttpSession {
 public:
  // `cancelled` may be null; it must outlive the session.
  HttpSession(RegistryTls tls, const std::atomic<bool>* cancelled);
  ~HttpSession();
  // 503 when no whole response came.
  Result<HttpResponse> perform(const HttpRequest& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kcube::runtime::images
