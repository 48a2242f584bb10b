// Object: one API object as it is stored and served. Immutable and shared: a LIST concatenates the bytes of many, a
// watch event is encoded once for all watchers, and an informer in the same process holds the very object of the cache.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/base/status.h"

namespace kcube::api {

struct GroupVersionResource {
  std::string group, version, resource;
  auto operator<=>(const GroupVersionResource&) const = default;
  // "pods" or "deployments.apps".
  std::string group_resource() const { return group.empty() ? resource : resource + "." + group; }
  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
};

// metadata.ownerReferences, as the garbage collector needs them.
struct OwnerReference {
  std::string api_version, kind, name, uid;
  bool controller = false;
  bool block_owner_deletion = false;
};

class Object;
using ObjectPtr = std::shared_ptr<const Object>;

class Object {
 public:
  // `template_text` is JSON made by encode(): it has an empty resourceVersion as the first member of metadata, which is
  // filled with `revision` here.
  static ObjectPtr make(std::string_view template_text, uint64_t revision);
  // From a value that has its resourceVersion already (what a remote server sent).
  static Result<ObjectPtr> from_value(json::value value);
  static Result<ObjectPtr> from_text(std::string text);
  ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  // JSON with apiVersion, kind and resourceVersion: what a client receives.
  const std::string& bytes() const { return bytes_; }
  // `bytes` parsed. The first call parses (thread-safe), later ones return the same value.
  const json::value& value() const;
  uint64_t revision() const { return revision_; }

  std::string_view name() const { return name_; }
  std::string_view namespace_() const { return namespace__; }
  std::string_view uid() const { return uid_; }
  std::string key() const;                        // "namespace/name", or "name"
  const std::vector<std::pair<std::string, std::string>>& labels() const { return labels_; }   // sorted
  std::string_view label(std::string_view key) const;   // empty when absent
  bool deleting() const { return deleting_; }     // deletionTimestamp is set

 private:
  Object(std::string bytes, uint64_t revision) : bytes_(std::move(bytes)), revision_(revision) {}
  void read_metadata(const json::value* metadata);
  void scan_metadata(std::string_view text);

  std::string bytes_;
  uint64_t revision_;
  std::string name_, namespace__, uid_;
  std::vector<std::pair<std::string, std::string>> labels_;
  bool deleting_ = false;
  mutable std::atomic<const json::value*> value_{nullptr};
};

// The text that Object::make() and the store take: members apiVersion, kind, metadata first, metadata starting with an
// empty resourceVersion whatever `value` has there.
std::string encode(const json::value& value);

// "namespace/name" or "name".
std::string object_key(std::string_view namespace_, std::string_view name);
// The two parts of such a key.
std::pair<std::string, std::string> split_key(std::string_view key);

std::vector<OwnerReference> owner_references(const json::value& object);
// The reference with controller: true, by uid; empty uid when there is none.
OwnerReference controller_of(const json::value& object);
// {"apiVersion":…,"kind":…,"name":…,"uid":…,"controller":true,"blockOwnerDeletion":true} for a child of `owner`.
json::object controller_reference(const json::value& owner);

}  // namespace kcube::api
