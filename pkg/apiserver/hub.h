// The watch hub: takes the cache's events and hands each to the watchers that it concerns.
//
// One thread owns everything: events and registrations come in by a queue, in order, so that a watcher sees the window's
// past and then the present without a gap. Watchers are indexed by resource, namespace, name and (pods) node. Encoded
// events are shared by all watchers of the same encoding. A receiver must not block; one that cannot keep up is dropped.
// The API server runs two hubs: one for watchers in this process, one for HTTP, so that a crowd of the latter delays none
// of the former.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pkg/api/selector.h"
#include "pkg/apiserver/cache.h"
#include "pkg/apiserver/fields.h"

namespace kcube::apiserver {

// What a watch selects.
struct WatchSpec {
  ResourceCache* cache = nullptr;
  std::string ns, name;              // empty: all
  api::LabelSelector labels;
  FieldMatcher fields;
  // Objects as the watched version shows them, where that may differ from what is stored; null elsewhere.
  std::function<Result<ObjectPtr>(const ObjectPtr&)> view;
  uint64_t after = 0;
  bool initial_state = false;        // the present as ADDED events first
  bool initial_end = false;          // and a bookmark that says so
  bool bookmarks = false;
  std::chrono::seconds timeout{0};   // 0: none

  bool selects(const api::Object& object) const;
  bool in_scope(const api::Object& object) const;   // namespace and name alone
};

// One event as a watcher gets it: its type may differ from the change's (an object that leaves the selection is DELETED).
struct Delivery {
  enum class Type { added, modified, deleted, bookmark, error };
  Type type;
  ObjectPtr object;                  // of added, modified, deleted
  uint64_t revision = 0;
  bool initial_end = false;          // of a bookmark
  const Status* error = nullptr;
};

// Texts of one event made so far, by encoder and type.
class EncodedEvent {
 public:
  std::shared_ptr<const std::string> get(const void* encoder, Delivery::Type type, const std::function<std::string()>& make);

 private:
  struct Entry {
    const void* encoder;
    Delivery::Type type;
    std::shared_ptr<const std::string> text;
  };
  std::vector<Entry> entries_;
};

class Receiver {
 public:
  virtual ~Receiver() = default;
  // Hub thread. False: the receiver is gone, forget it.
  virtual bool deliver(const Delivery& delivery, EncodedEvent& encoded) = 0;
  // Hub thread: the watch is over (timeout, error, shutdown).
  virtual void end() = 0;
};

class Hub {
 public:
  Hub(std::string name, const Cache& cache, store::Store& store);
  ~Hub();
  void stop();

  // Any thread. Waits while more than a bound of events is queued, which is the brake on writers.
  void publish(std::shared_ptr<const std::vector<EventPtr>> events);
  using WatchId = uint64_t;
  WatchId add(WatchSpec spec, std::shared_ptr<Receiver> receiver);
  void remove(WatchId id);
  // Ends every watch of a resource: what it was started on has changed, and a client has to begin anew.
  void end_watches(const ResourceCache& cache);
  // How many are told of a change to the object: those of the resource, its namespace and its name, but not those of pods
  // by node. Any thread; nothing when there are fewer than `at_least` altogether, without a lock.
  size_t interested(const ResourceCache& cache, std::string_view ns, std::string_view name, size_t at_least) const;
  size_t watchers() const { return count_.load(std::memory_order_relaxed); }
  // Nobody watches, nor has asked to: events need not be published, since who comes later reads them from the cache.
  bool idle() const { return interest_.load() == 0; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Watcher {
    WatchId id;
    WatchSpec spec;
    std::shared_ptr<Receiver> receiver;
    std::string node;                 // bound spec.nodeName of a watch on pods
    Clock::time_point deadline;       // Clock::time_point::max(): none
  };
  // The watchers of one resource.
  struct Index {
    std::unordered_set<Watcher*> all;
    std::unordered_map<std::string, std::unordered_set<Watcher*>> by_namespace, by_name, by_node;
  };
  struct Command {
    std::unique_ptr<Watcher> add;
    WatchId remove = 0;
    std::shared_ptr<const std::vector<EventPtr>> events;
    const ResourceCache* end = nullptr;
  };

  void run();
  void handle(Command command);
  void dispatch(const EventPtr& event);
  bool offer(Watcher& watcher, const Event& event, EncodedEvent& encoded);
  void start_watcher(std::unique_ptr<Watcher> watcher);
  bool replay(Watcher& watcher);
  bool send_state(Watcher& watcher);
  bool report(Watcher& w, const Status& status);
  void send_error(Watcher& watcher, const Status& status);
  void send_bookmark(Watcher& watcher, bool initial_end, EncodedEvent& encoded);
  void drop(WatchId id, bool end);
  void tick();
  void note_interest(const Watcher& watcher, int by);
  std::unordered_set<Watcher*>& bucket(Index& index, const Watcher& watcher);
  ObjectPtr departed(const Event& event);

  const std::string name_;
  const Cache& cache_;
  store::Store& store_;

  std::mutex mutex_;
  std::condition_variable arrived_, drained_;
  std::deque<Command> queue_;
  size_t queued_events_ = 0;
  bool stopping_ = false;
  std::atomic<size_t> count_{0}, interest_{0};
  std::atomic<uint64_t> next_id_{1};

  mutable std::mutex scopes_mutex_;
  std::map<std::pair<const ResourceCache*, std::string>, size_t, std::less<>> scopes_;   // watchers by "", "ns/" and "ns/name"

  // Hub thread.
  uint64_t dispatched_ = 0;           // every event up to this revision has been handed out
  std::unordered_map<WatchId, std::unique_ptr<Watcher>> watchers_;
  std::unordered_map<const ResourceCache*, Index> index_;
  std::multimap<Clock::time_point, WatchId> deadlines_;
  Clock::time_point next_bookmarks_;
  std::pair<uint64_t, ObjectPtr> departed_;
  std::thread thread_;
};

}  // namespace kcube::apiserver
