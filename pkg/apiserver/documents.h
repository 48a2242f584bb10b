// What is served beside the resources: health, version, discovery, OpenAPI, the issuer's keys.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "pkg/apiserver/apiserver.h"
#include "pkg/apiserver/authenticator.h"
#include "pkg/apiserver/discovery.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/merged_documents.h"
#include "pkg/http/server.h"

namespace kcube::apiserver {

class Documents {
 public:
  // `ca_pem` is at /cacerts, for those who join by a token that pins it.
  Documents(const api::Schema& schema, const Authenticator& authenticator, const Aggregator& aggregator, std::string version, std::string ca_pem, std::vector<HealthCheck> checks)
      : schema_(schema), authenticator_(authenticator), aggregator_(aggregator), merged_(aggregator), version_(std::move(version)), ca_pem_(std::move(ca_pem)), checks_(std::move(checks)) {
    set_custom({});
  }
  // What of CustomResourceDefinitions is served from now on. Any thread.
  void set_custom(extension::CustomResources custom);
  // Answers and returns true when `request.path` is one of them.
  bool serve(const http::Request& request, http::Responder& responder) const;
  // "/apis/GROUP", or another document of discovery, is there.
  bool knows_group(const std::string& path) const;
  // What everybody may read, also with no credentials, whatever RBAC says.
  static bool is_public(std::string_view path);

 private:
  bool health(const http::Request& request, http::Responder& responder) const;
  static void whole_health(const std::string& name, const std::vector<HealthCheck>& checks, const http::Request& request, http::Responder& responder);
  bool discovery(const std::string& path, const http::Request& request, http::Responder& responder) const;
  bool openapi(const http::Request& request, http::Responder& responder) const;
  std::string version_json() const;

  const api::Schema& schema_;
  const Authenticator& authenticator_;
  const Aggregator& aggregator_;
  const MergedDocuments merged_;
  // Exchanged whole when a CustomResourceDefinition comes, changes or goes.
  struct Served {
    Discovery discovery;
    extension::CustomResources custom;
  };
  std::atomic<std::shared_ptr<const Served>> served_;
  const std::string version_, ca_pem_;
  const std::vector<HealthCheck> checks_;
  // OpenAPI v2 in protobuf, as it was last made.
  struct Encoded {
    std::mutex mutex;
    uint64_t source = 0;               // hash of the JSON
    std::string text;
  };
  mutable Encoded encoded_;
};

}  // namespace kcube::apiserver
