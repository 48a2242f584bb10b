#include "pkg/apiserver/hub.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/api/scan.h"
#include "pkg/base/executor.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kQueueBound = 100'000;                      // events that wait to be handed out
constexpr std::chrono::seconds kBookmarkInterval{50};        // at least one a minute

std::string node_of(const api::Object& object) { return api::scalar_text(api::scan_path(object.bytes(), {"spec", "nodeName"})); }

}  // namespace

bool WatchSpec::in_scope(const api::Object& object) const {
  return (ns.empty() || object.namespace_() == ns) && (name.empty() || object.name() == name);
}

bool WatchSpec::selects(const api::Object& object) const {
  return in_scope(object) && labels.matches(object.labels()) && fields.matches(object);
}

std::shared_ptr<const std::string> EncodedEvent::get(const void* encoder, Delivery::Type type, const std::function<std::string()>& make) {
  for (const Entry& e : entries_)
    if (e.encoder == encoder && e.type == type) return e.text;
  entries_.push_back({encoder, type, std::make_shared<const std::string>(make())});
  return entries_.back().text;
}

Hub::Hub(std::string name, const Cache& cache, store::Store& store)
    : name_(std::move(name)), cache_(cache), store_(store), dispatched_(cache.revision()), next_bookmarks_(Clock::now() + kBookmarkInterval) {
  thread_ = std::thread([this] { run(); });
}

Hub::~Hub() { stop(); }

void Hub::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  drained_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Hub::publish(std::shared_ptr<const std::vector<EventPtr>> events) {
  std::unique_lock lock(mutex_);
  drained_.wait(lock, [&] { return queued_events_ < kQueueBound || stopping_; });
  if (stopping_) return;
  queued_events_ += events->size();
  queue_.push_back({nullptr, 0, std::move(events)});
  lock.unlock();
  arrived_.notify_one();
}

Hub::WatchId Hub::add(WatchSpec spec, std::shared_ptr<Receiver> receiver) {
  auto watcher = std::make_unique<Watcher>();
  watcher->id = next_id_++;
  watcher->deadline = spec.timeout.count() > 0 ? Clock::now() + spec.timeout : Clock::time_point::max();
  if (spec.cache->resource() == "pods") watcher->node = spec.fields.bound("spec.nodeName");
  watcher->spec = std::move(spec);
  watcher->receiver = std::move(receiver);
  WatchId id = watcher->id;
  ++interest_;
  {
    std::lock_guard lock(mutex_);
    queue_.push_back({std::move(watcher), 0, nullptr});
  }
  arrived_.notify_one();
  return id;
}

void Hub::remove(WatchId id) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back({nullptr, id, nullptr});
  }
  arrived_.notify_one();
}

size_t Hub::interested(const ResourceCache& cache, std::string_view ns, std::string_view name, size_t at_least) const {
  if (count_.load(std::memory_order_relaxed) < at_least) return 0;
  size_t count = 0;
  std::lock_guard lock(scopes_mutex_);
  auto add = [&](std::string scope) {
    if (auto it = scopes_.find(std::pair(&cache, std::move(scope))); it != scopes_.end()) count += it->second;
  };
  add("");
  if (!ns.empty()) add(std::string(ns) + "/");
  if (!name.empty()) add(std::string(ns) + "/" + std::string(name));
  return count;
}

void Hub::note_interest(const Watcher& w, int by) {
  if (!w.node.empty()) return;
  std::lock_guard lock(scopes_mutex_);
  std::string scope = w.spec.ns.empty() && w.spec.name.empty() ? "" : w.spec.ns + "/" + w.spec.name;
  auto it = scopes_.try_emplace({w.spec.cache, std::move(scope)}, 0).first;
  it->second += static_cast<size_t>(by);
  if (it->second == 0) scopes_.erase(it);
}

void Hub::end_watches(const ResourceCache& cache) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back({nullptr, 0, nullptr, &cache});
  }
  arrived_.notify_one();
}

void Hub::run() {
  set_thread_name(name_);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    auto wake = next_bookmarks_;
    if (!deadlines_.empty()) wake = std::min(wake, deadlines_.begin()->first);
    // Without watchers nothing is due: an idle server does not wake.
    auto ready = [&] { return stopping_ || !queue_.empty(); };
    if (watchers_.empty()) arrived_.wait(lock, ready);
    else arrived_.wait_until(lock, wake, ready);
    std::deque<Command> batch;
    batch.swap(queue_);
    queued_events_ = 0;
    lock.unlock();
    drained_.notify_all();
    for (Command& command : batch) handle(std::move(command));
    tick();
    lock.lock();
  }
  lock.unlock();
  for (auto& [id, watcher] : watchers_) watcher->receiver->end();
  watchers_.clear();
}

void Hub::handle(Command command) {
  if (command.add) start_watcher(std::move(command.add));
  if (command.remove != 0) drop(command.remove, false);
  if (command.end != nullptr) {
    std::vector<WatchId> ended;
    for (const auto& [id, w] : watchers_)
      if (w->spec.cache == command.end) ended.push_back(id);
    for (WatchId id : ended) drop(id, true);
  }
  if (!command.events) return;
  for (const EventPtr& event : *command.events) dispatch(event);
}

std::unordered_set<Hub::Watcher*>& Hub::bucket(Index& index, const Watcher& w) {
  if (!w.spec.name.empty()) return index.by_name[api::object_key(w.spec.ns, w.spec.name)];
  if (!w.node.empty()) return index.by_node[w.node];
  if (!w.spec.ns.empty()) return index.by_namespace[w.spec.ns];
  return index.all;
}

void Hub::dispatch(const EventPtr& event) {
  dispatched_ = std::max(dispatched_, event->revision);
  auto found = index_.find(event->cache);
  if (found == index_.end()) return;
  Index& index = found->second;
  EncodedEvent encoded;
  std::vector<WatchId> dead;
  auto offer_all = [&](std::unordered_set<Watcher*>& set) {
    for (Watcher* w : set)
      if (!offer(*w, *event, encoded)) dead.push_back(w->id);
  };
  auto offer_in = [&](auto& map, const std::string& key) {
    auto it = map.find(key);
    if (it != map.end()) offer_all(it->second);
  };
  const api::Object& object = *event->object;
  offer_all(index.all);
  if (!index.by_namespace.empty()) offer_in(index.by_namespace, std::string(object.namespace_()));
  if (!index.by_name.empty()) {
    offer_in(index.by_name, object.key());
    // A watch over all namespaces for one name.
    if (!object.namespace_().empty()) offer_in(index.by_name, std::string(object.name()));
  }
  if (!index.by_node.empty()) {
    std::string now = node_of(object), before = event->before ? node_of(*event->before) : now;
    offer_in(index.by_node, now);
    if (before != now) offer_in(index.by_node, before);
  }
  for (WatchId id : dead) drop(id, false);
}

// The object as it was, for watchers whose selection it has left; made once for all of them.
ObjectPtr Hub::departed(const Event& event) {
  if (departed_.first != event.revision) departed_ = {event.revision, at_revision(*event.before, event.revision)};
  return departed_.second;
}

bool Hub::offer(Watcher& w, const Event& event, EncodedEvent& encoded) {
  if (event.revision <= w.spec.after || !w.spec.in_scope(*event.object)) return true;
  ObjectPtr object = event.object, earlier = event.before;
  if (w.spec.view) {
    for (ObjectPtr* one : {&object, &earlier}) {
      if (!*one) continue;
      auto viewed = w.spec.view(*one);
      if (!viewed) return report(w, viewed.error());
      *one = std::move(*viewed);
    }
  }
  bool now = event.type != Event::Type::deleted && w.spec.selects(*object);
  bool before = earlier && w.spec.selects(*earlier);
  Delivery delivery{Delivery::Type::modified, object, event.revision, false, nullptr};
  if (now && !before) delivery.type = Delivery::Type::added;
  if (!now && !before) return true;
  if (!now && before) {
    delivery.type = Delivery::Type::deleted;
    if (event.type != Event::Type::deleted) {
      delivery.object = earlier == event.before ? departed(event) : at_revision(*earlier, event.revision);
      // Not the event's own text: another object under the same type would be taken from the shared ones.
      EncodedEvent own;
      return w.receiver->deliver(delivery, own);
    }
  }
  return w.receiver->deliver(delivery, encoded);
}

void Hub::start_watcher(std::unique_ptr<Watcher> watcher) {
  Watcher& w = *watcher;
  // The cache may be ahead of what was dispatched: what is replayed from it is not sent again.
  bool alive = w.spec.initial_state ? send_state(w) : replay(w);
  if (!alive) {
    --interest_;
    return;
  }
  if (w.deadline != Clock::time_point::max()) deadlines_.emplace(w.deadline, w.id);
  bucket(index_[w.spec.cache], w).insert(&w);
  note_interest(w, 1);
  watchers_.emplace(w.id, std::move(watcher));
  count_ = watchers_.size();
}

bool Hub::send_state(Watcher& w) {
  uint64_t revision = cache_.revision();
  SnapshotPtr state = w.spec.cache->snapshot();
  revision = std::max(revision, state->changed);
  for (ObjectPtr object : state->objects) {
    if (w.spec.view) {
      auto viewed = w.spec.view(object);
      if (!viewed) {
        send_error(w, viewed.error());
        return false;
      }
      object = std::move(*viewed);
    }
    if (!w.spec.selects(*object)) continue;
    EncodedEvent encoded;
    if (!w.receiver->deliver({Delivery::Type::added, object, object->revision(), false, nullptr}, encoded)) return false;
  }
  w.spec.after = revision;
  EncodedEvent encoded;
  if (w.spec.initial_end) return w.receiver->deliver({Delivery::Type::bookmark, nullptr, revision, true, nullptr}, encoded);
  return true;
}

// What happened between spec.after and now, from the window or else from the store's log.
bool Hub::replay(Watcher& w) {
  std::vector<EventPtr> past;
  if (!w.spec.cache->events_after(w.spec.after, past)) {
    past.clear();
    auto changes = store_.changes_since(w.spec.cache->prefix(), w.spec.after, 0);
    if (!changes) {
      send_error(w, api::expired("too old resource version: " + std::to_string(w.spec.after) + " (" +
                                 std::to_string(store_.compacted_revision()) + ")"));
      return false;
    }
    for (const store::Change& change : *changes)
      if (EventPtr event = cache_.to_event(change)) past.push_back(std::move(event));
  }
  for (const EventPtr& event : past) {
    EncodedEvent encoded;
    if (!offer(w, *event, encoded)) return false;
    w.spec.after = event->revision;
  }
  return true;
}

bool Hub::report(Watcher& w, const Status& status) {
  EncodedEvent encoded;
  return w.receiver->deliver({Delivery::Type::error, nullptr, 0, false, &status}, encoded);
}

void Hub::send_error(Watcher& w, const Status& status) {
  EncodedEvent encoded;
  (void)w.receiver->deliver({Delivery::Type::error, nullptr, 0, false, &status}, encoded);
  w.receiver->end();
}

void Hub::send_bookmark(Watcher& w, bool initial_end, EncodedEvent& encoded) {
  uint64_t revision = std::max(dispatched_, w.spec.after);
  if (!w.receiver->deliver({Delivery::Type::bookmark, nullptr, revision, initial_end, nullptr}, encoded)) drop(w.id, false);
}

void Hub::drop(WatchId id, bool end) {
  auto it = watchers_.find(id);
  if (it == watchers_.end()) return;
  std::unique_ptr<Watcher> w = std::move(it->second);
  watchers_.erase(it);
  --interest_;
  Index& index = index_[w->spec.cache];
  bucket(index, *w).erase(w.get());
  // Buckets of names and nodes come and go: empty ones are not kept.
  if (!w->spec.name.empty()) {
    auto b = index.by_name.find(api::object_key(w->spec.ns, w->spec.name));
    if (b->second.empty()) index.by_name.erase(b);
  } else if (!w->node.empty()) {
    auto b = index.by_node.find(w->node);
    if (b->second.empty()) index.by_node.erase(b);
  } else if (!w->spec.ns.empty()) {
    auto b = index.by_namespace.find(w->spec.ns);
    if (b->second.empty()) index.by_namespace.erase(b);
  }
  count_ = watchers_.size();
  note_interest(*w, -1);
  if (end) w->receiver->end();
}

void Hub::tick() {
  auto now = Clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    WatchId id = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    auto it = watchers_.find(id);
    if (it == watchers_.end()) continue;
    EncodedEvent encoded;
    if (it->second->spec.bookmarks) send_bookmark(*it->second, false, encoded);
    drop(id, true);
  }
  if (now < next_bookmarks_) return;
  next_bookmarks_ = now + kBookmarkInterval;
  std::vector<WatchId> wanting;
  for (auto& [id, w] : watchers_)
    if (w->spec.bookmarks) wanting.push_back(id);
  for (WatchId id : wanting) {
    EncodedEvent encoded;
    auto it = watchers_.find(id);
    if (it != watchers_.end()) send_bookmark(*it->second, false, encoded);
  }
}

}  // namespace kcube::apiserver
