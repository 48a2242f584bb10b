// The life of CustomResourceDefinitions: which names they get, when they are established and served, and that with a
// definition its objects go.
//
// Follows the definitions in the cache on a thread of its own, which alone changes what the registry and the documents
// serve. A definition is served before its status says so, so that whoever waits for Established finds it.
// Source: the Kubernetes docs on custom resources; the conditions that kube-apiserver sets.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/extension/custom_resource.h"

namespace kcube::apiserver::extension {

class Definitions {
 public:
  struct Hooks {
    std::function<void(const CustomResources&)> serve;          // everything that is served from now on, in the order of names
    std::function<void(const ResourceCache&)> end_watches;      // what they were started on has changed or gone
  };
  Definitions(Engine& engine, Cache& cache, WebhookClient& webhooks, Hooks hooks);
  ~Definitions();
  // Serves what is established already, then follows.
  void start();
  void stop();
  // The store's writer thread.
  void observe(const Event& event);

 private:
  void run();
  void enqueue(std::string name);
  // Brings what is served and the definition's status into line with its spec.
  void reconcile(const std::string& name);
  void serve(const std::string& name, const json::value& definition);
  void withdraw(const std::string& name);
  void terminate(const api::Object& definition);
  void publish();
  bool write_status(const std::string& name, const std::function<void(json::object& definition)>& change);
  Call call(std::string_view subresource, const std::string& name) const;

  Engine& engine_;
  Cache& cache_;
  WebhookClient& webhooks_;
  const Hooks hooks_;
  const ResourceCache* definitions_ = nullptr;

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::string> queue_;
  std::set<std::string> queued_;
  std::map<const ResourceCache*, std::string> terminating_;   // whose objects' removal is waited for
  std::atomic<size_t> terminations_{0};
  bool stopping_ = false;

  std::map<std::string, std::shared_ptr<const CustomResource>> served_;   // of the thread (before it: of start())
  std::thread thread_;
};

}  // namespace kcube::apiserver::extension
