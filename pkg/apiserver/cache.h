// The watch cache: every stored object in memory, shared and immutable, with a window of recent events for each resource.
//
// Filled from the store at start, kept current by the store's writer thread (apply), read by any thread. get() and list()
// see a write as soon as the commit() that made it has returned. Readers share a lock that the writer takes for the time
// of a few pointer moves; a LIST takes a snapshot (a vector of pointers, shared until the next write to its resource).
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/store/store.h"

namespace kcube::apiserver {

using api::ObjectPtr;
class ResourceCache;

struct Event {
  enum class Type { added, modified, deleted };
  Type type = Type::added;
  ResourceCache* cache = nullptr;
  uint64_t revision = 0;
  ObjectPtr object;   // deleted: the last state, at the revision of the removal
  ObjectPtr before;   // null when added
};
using EventPtr = std::shared_ptr<const Event>;

struct Snapshot {
  std::vector<ObjectPtr> objects;   // in the order of their keys
  uint64_t changed = 0;             // revision of the last change to this resource
  // Total size of their bytes.
  uint64_t bytes = 0;
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

// The objects of one stored resource.
class ResourceCache {
 public:
  ResourceCache(std::string group, std::string resource, std::string prefix)
      : group_(std::move(group)), resource_(std::move(resource)), prefix_(std::move(prefix)) {}

  const std::string& group() const { return group_; }
  const std::string& resource() const { return resource_; }
  const std::string& prefix() const { return prefix_; }          // "/registry/apps/deployments/"
  std::string store_key(std::string_view ns, std::string_view name) const { return prefix_ + api::object_key(ns, name); }

  ObjectPtr get(std::string_view ns, std::string_view name) const;
  SnapshotPtr snapshot() const;
  size_t size() const;
  // Whether this is the present state of that object.
  bool is_at(const api::Object& object) const;
  // Of their JSON together, without a lock.
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  // Without a lock.
  bool empty() const { return count_.load(std::memory_order_acquire) == 0; }
  // Those of one namespace, in the order of their names.
  std::vector<ObjectPtr> in_namespace(std::string_view ns) const;
  uint64_t changed() const { return changed_.load(std::memory_order_acquire); }

  // Events after `revision`, oldest first; false when the window no longer reaches that far back.
  bool events_after(uint64_t revision, std::vector<EventPtr>& out) const;

 private:
  friend class Cache;
  void load(std::string_view key, ObjectPtr object);
  void clear(uint64_t revision);
  EventPtr apply(const store::Change& change, std::string_view key);

  const std::string group_, resource_, prefix_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, ObjectPtr, std::less<>> objects_;
  std::deque<EventPtr> window_;
  uint64_t window_start_ = 0;                    // every event after this revision is in window_
  std::atomic<uint64_t> changed_{0};
  std::atomic<size_t> count_{0};
  std::atomic<uint64_t> bytes_{0};
  mutable std::mutex snapshot_mutex_;
  mutable SnapshotPtr snapshot_;
};

class Cache {
 public:
  // Declares a resource; before load().
  ResourceCache* add(std::string_view group, std::string_view resource);
  // Declares a resource while everything runs, and reads what the store has of it. Nobody writes objects of it meanwhile.
  Result<ResourceCache*> open(std::string_view group, std::string_view resource);
  // Forgets the objects of such a resource. What it was stays valid for those who hold it, and open() gives it again.
  void close(ResourceCache& cache);
  ResourceCache* find(std::string_view group, std::string_view resource) const;
  // Reads everything and follows the store from there. `on_events` runs on the store's writer thread.
  Result<void> load(store::Store& store, std::function<void(std::vector<EventPtr>)> on_events);
  // Every change up to this revision is visible.
  uint64_t revision() const { return revision_.load(std::memory_order_acquire); }
  // The event that `change` is, for replaying the store's log; null for keys of no known resource.
  EventPtr to_event(const store::Change& change) const;

 private:
  void apply(const std::vector<store::Change>& changes);
  // The resource of a store key and the rest of the key.
  std::pair<ResourceCache*, std::string_view> locate(std::string_view store_key) const;

  using Prefixes = std::map<std::string, ResourceCache*, std::less<>>;
  ResourceCache* at_prefix(std::string_view prefix) const;

  std::vector<std::unique_ptr<ResourceCache>> resources_;
  Prefixes by_prefix_;                                   // "pods", "apps/deployments"; fixed from load() on
  std::mutex opening_;                                   // of open() and close()
  std::vector<std::unique_ptr<ResourceCache>> opened_;
  std::atomic<std::shared_ptr<const Prefixes>> opened_by_prefix_;
  store::Store* store_ = nullptr;
  std::function<void(std::vector<EventPtr>)> on_events_;
  std::atomic<uint64_t> revision_{0};
};

// The same object with another resourceVersion: what a watcher sees of an object that left its view.
ObjectPtr at_revision(const api::Object& object, uint64_t revision);
// The text to store for an object taken from the cache (its resourceVersion emptied again).
std::string template_of(const api::Object& object);

}  // namespace kcube::apiserver
