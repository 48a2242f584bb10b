// Aggregated API servers: groups and versions that an APIService says are served by a Service in the cluster.
//
// Requests for them are passed on with the user in X-Remote headers, under the front-proxy certificate. Whether an
// APIService can be used is checked when it, its Service or its endpoints change, and every half minute; its documents are
// fetched then. Without such APIServices nothing here runs. Each version of a group of custom resources has an APIService
// of its own, which comes and goes with them. Thread-safe. Source: the Kubernetes docs on the aggregation
// layer; conditions and answers observed from kube-apiserver.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/forward.h"
#include "pkg/base/work_queue.h"

namespace kcube::apiserver {

// One APIService that is not served here.
struct Extension {
  std::string name, group, version, ns, service;
  int64_t port = 443, group_priority = 0, version_priority = 0;
  bool available = false;
  std::shared_ptr<const Peer> peer;
};
using ExtensionPtr = std::shared_ptr<const Extension>;

// What an extension said about itself when it was last asked.
struct ExtensionDocuments {
  json::value resources;                              // APIResourceList; null: never heard
  std::map<std::string, std::string> openapi_v3;      // path ("apis/G/V") → server relative URL
  json::value openapi_v2;
  std::string v2_etag;
};

class Aggregator {
 public:
  Aggregator(Engine& engine, Forwarder& forwarder, auth::KeyPair proxy_client);
  ~Aggregator();
  // Checks what is there, and from now on what changes.
  void start();
  void stop();
  // The store's writer thread.
  void observe(const Event& event);

  // False when every APIService is local.
  bool active() const { return empty_at_.load(std::memory_order_acquire) != api_services_->changed() && !index()->by_version.empty(); }
  // Takes the request (and the responder) when it is for an extension.
  bool serve(const auth::User& user, http::Request& request, std::unique_ptr<http::Responder>& responder);

  // Every extension, those of higher group and then version priority first.
  std::vector<ExtensionPtr> extensions() const;
  // Of the extension of that name; empty when it never answered.
  std::shared_ptr<const ExtensionDocuments> documents(const std::string& name) const;
  // Changes whenever extensions(), documents() or the priorities of local groups may.
  uint64_t generation() const;
  // groupPriorityMinimum of every group that has an APIService.
  std::map<std::string, int64_t, std::less<>> group_priorities() const;

 private:
  struct Index {
    uint64_t revision = 0;
    std::map<std::string, ExtensionPtr, std::less<>> by_version;   // "group/version"
    std::map<std::string, int64_t, std::less<>> priorities;        // of groups
  };
  struct Condition {
    bool available = false;
    std::string reason, message;
  };
  std::shared_ptr<const Index> index() const;
  std::shared_ptr<const Peer> peer_of(const Extension& extension, const json::value& spec) const;
  Result<std::string> address(const Extension& extension, Condition* why) const;
  std::vector<std::pair<std::string, std::string>> identity(const auth::User& user) const;

  void work();
  void check(const std::string& name);
  Condition probe(const Extension& extension);
  Condition ask(const Extension& extension, const std::string& base);
  void fetch_openapi(const Extension& extension, const std::string& base, ExtensionDocuments& documents);
  void write(const std::string& name, const Condition& condition);
  void register_version(const std::string& group, const std::string& version);
  void observe_definition(const json::value& definition);

  Engine& engine_;
  Core& core_;
  Forwarder& forwarder_;
  const auth::KeyPair proxy_client_;
  ResourceCache* const api_services_;
  ResourceCache* const services_;
  ResourceCache* const slices_;
  ResourceCache* const definitions_;                              // of custom resources
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Index> index_;
  mutable std::map<std::string, std::shared_ptr<const Peer>> peers_;
  std::map<std::string, std::shared_ptr<const ExtensionDocuments>> documents_;
  mutable std::atomic<uint64_t> empty_at_{0};   // the revision at which there was none, so that most requests take no lock
  std::atomic<uint64_t> fetched_{0};
  std::atomic<bool> started_{false};
  WorkQueue queue_;
  Executor workers_;
};

}  // namespace kcube::apiserver
