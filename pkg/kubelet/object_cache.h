// ObjectCache: ConfigMaps and Secrets that pods of this node refer to, each followed by a watch of its own while a pod
// needs it: the node authorizer lets a node see no others. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "pkg/api/views/core_v1.h"
#include "pkg/client/client.h"

namespace kcube::kubelet {

class ObjectCache {
 public:
  explicit ObjectCache(client::Client& client) : client_(client) {}
  ~ObjectCache();

  // Called with the UID of each pod that uses an object that changed; from a thread of the client, must not block.
  void on_change(std::function<void(const std::string& pod_uid)> callback) { on_change_ = std::move(callback); }

  // The current object on behalf of a pod; 404 when it does not exist (its coming is then watched for).
  Result<api::ObjectPtr> get(const client::GroupVersionResource& resource, std::string_view ns, std::string_view name, const std::string& pod_uid);
  // The pod is gone: objects nobody else uses are no longer followed.
  void forget(const std::string& pod_uid);

 private:
  struct Entry {
    std::mutex mutex;
    api::ObjectPtr object;
    bool watching = false;
    std::unique_ptr<client::Watch> watch;
    std::set<std::string> users;
  };
  using EntryPtr = std::shared_ptr<Entry>;
  Result<void> follow(const client::GroupVersionResource& resource, std::string_view ns, std::string_view name, const EntryPtr& entry);

  client::Client& client_;
  std::function<void(const std::string&)> on_change_;
  std::mutex mutex_;
  std::map<std::string, EntryPtr> entries_;   // "secrets/ns/name"
};

}  // namespace kcube::kubelet
