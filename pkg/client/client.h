// Client: the one way by which every part of the cluster speaks to the API server, in this process (LocalClient: no
// HTTP, no copy) or on another machine (RemoteClient: TLS). Thread-safe; calls block. Expected failures are the API's own
// Status values, the same from both.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/base/status.h"

namespace kcube::client {

using api::GroupVersionResource;
using api::ObjectPtr;

struct ListOptions {
  std::string label_selector, field_selector;
  std::string resource_version, resource_version_match;
  uint64_t limit = 0;
  std::string continue_token;
};

struct ObjectList {
  std::vector<ObjectPtr> items;
  uint64_t revision = 0;
  std::string continue_token;
};

struct WatchEvent {
  enum class Type { added, modified, deleted, bookmark, error };
  Type type;
  ObjectPtr object;            // null for error; a bookmark has only its revision
  uint64_t revision = 0;
  Status status{0, "", ""};    // of an error (410 Expired: list again)
};

// Destroying it ends the watch; no event is delivered after the destructor returns, except on the thread that destroys.
class Watch {
 public:
  virtual ~Watch() = default;
};

struct DeleteOptions {
  std::string uid;                       // precondition, empty: none
  std::string resource_version;
  int64_t grace_period_seconds = -1;     // -1: the object's default
  std::string propagation;               // "", "Background", "Foreground", "Orphan"
};

enum class PatchType { json, merge, strategic, apply };

class Client {
 public:
  virtual ~Client() = default;

  virtual Result<ObjectPtr> get(const GroupVersionResource& resource, std::string_view ns, std::string_view name) = 0;
  // An empty `ns` lists all namespaces.
  virtual Result<ObjectList> list(const GroupVersionResource& resource, std::string_view ns, const ListOptions& options = {}) = 0;
  virtual Result<ObjectPtr> create(const GroupVersionResource& resource, std::string_view ns, const json::value& object,
                                   std::string_view subresource = {}, std::string_view name = {}) = 0;
  virtual Result<ObjectPtr> update(const GroupVersionResource& resource, std::string_view ns, std::string_view name,
                                   const json::value& object, std::string_view subresource = {}) = 0;
  virtual Result<ObjectPtr> patch(const GroupVersionResource& resource, std::string_view ns, std::string_view name, PatchType type,
                                  const json::value& patch, std::string_view subresource = {}) = 0;
  virtual Result<void> remove(const GroupVersionResource& resource, std::string_view ns, std::string_view name,
                              const DeleteOptions& options = {}) = 0;
  // Events after `options.resource_version`, in order, on a thread of the client: `sink` must not block, and must not
  // destroy the watch from inside. After an error event nothing more comes.
  virtual Result<std::unique_ptr<Watch>> watch(const GroupVersionResource& resource, std::string_view ns, const ListOptions& options,
                                               std::function<void(const WatchEvent&)> sink) = 0;
};

// What LocalClient calls: the API server, seen from below. Implemented by pkg/apiserver; runs every check of a request
// (admission, validation) except authentication: the client says who it is.
struct LocalCall {
  std::string user;                       // "system:kube-scheduler"
  std::vector<std::string> groups;
  GroupVersionResource resource;
  std::string ns, name, subresource;
};
class LocalBackend {
 public:
  virtual ~LocalBackend() = default;
  virtual Result<ObjectPtr> get(const LocalCall& call) = 0;
  virtual Result<ObjectList> list(const LocalCall& call, const ListOptions& options) = 0;
  virtual Result<ObjectPtr> create(const LocalCall& call, json::value object) = 0;
  virtual Result<ObjectPtr> update(const LocalCall& call, json::value object) = 0;
  virtual Result<ObjectPtr> patch(const LocalCall& call, PatchType type, const json::value& patch) = 0;
  virtual Result<void> remove(const LocalCall& call, const DeleteOptions& options) = 0;
  virtual Result<std::unique_ptr<Watch>> watch(const LocalCall& call, const ListOptions& options,
                                               std::function<void(const WatchEvent&)> sink) = 0;
};

// `backend` must outlive the client.
std::unique_ptr<Client> local_client(LocalBackend& backend, std::string user, std::vector<std::string> groups);

struct RemoteOptions {
  std::string server;                     // "https://10.0.0.1:6443"
  std::string ca_pem, certificate_pem, key_pem;
  std::string token;                      // instead of a certificate
};
class RemoteClient : public Client {
 public:
  // New connections use the new certificate.
  virtual void set_credentials(const RemoteOptions& options) = 0;
};
std::unique_ptr<RemoteClient> remote_client(const RemoteOptions& options);

}  // namespace kcube::client
