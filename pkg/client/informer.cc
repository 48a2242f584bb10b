#include "pkg/client/informer.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <thread>
#include <unordered_map>

#include "pkg/base/executor.h"
#include "pkg/base/log.h"

namespace kcube::client {
namespace {

constexpr Duration kFirstRetry = std::chrono::milliseconds(100);
constexpr Duration kHeld = std::chrono::seconds(5);   // a watch that lasted that long worked
constexpr Duration kLastRetry = std::chrono::seconds(10);

// One thread that runs the deliveries of all informers of a factory, in order.
class Delivery {
 public:
  Delivery() : thread_([this] { run(); }) {}
  ~Delivery() { stop(); }

  void post(std::function<void()> action) {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      queue_.push_back(std::move(action));
    }
    ready_.notify_one();
  }

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    ready_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run() {
    set_thread_name("informers");
    std::unique_lock lock(mutex_);
    while (true) {
      ready_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      auto action = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      action();
      action = nullptr;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

// The objects and their indexes. Written by the delivery thread, read by any.
class ObjectMap {
 public:
  using KeysOf = std::function<std::vector<std::string>(const api::Object&)>;

  void add_index(const std::string& name, KeysOf keys) {
    std::unique_lock lock(mutex_);
    Index& index = indexes_[name];
    index.keys_of = std::move(keys);
    for (const auto& [key, object] : objects_) index.insert(key, *object);
  }

  // Returns what was there before.
  ObjectPtr put(const std::string& key, ObjectPtr object) {
    std::unique_lock lock(mutex_);
    ObjectPtr& slot = objects_[key];
    ObjectPtr before = slot;
    for (auto& [name, index] : indexes_) {
      if (before) index.erase(key, *before);
      index.insert(key, *object);
    }
    slot = std::move(object);
    return before;
  }

  ObjectPtr erase(const std::string& key) {
    std::unique_lock lock(mutex_);
    auto it = objects_.find(key);
    if (it == objects_.end()) return nullptr;
    ObjectPtr before = it->second;
    for (auto& [name, index] : indexes_) index.erase(key, *before);
    objects_.erase(it);
    return before;
  }

  ObjectPtr get(std::string_view key) const {
    std::shared_lock lock(mutex_);
    auto it = objects_.find(key);
    return it == objects_.end() ? nullptr : it->second;
  }

  std::vector<ObjectPtr> list(std::string_view ns) const {
    std::shared_lock lock(mutex_);
    std::vector<ObjectPtr> out;
    std::string prefix = ns.empty() ? std::string() : std::string(ns) + "/";
    for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it) out.push_back(it->second);
    return out;
  }

  std::vector<ObjectPtr> by_index(const std::string& name, std::string_view bucket) const {
    std::shared_lock lock(mutex_);
    std::vector<ObjectPtr> out;
    auto index = indexes_.find(name);
    KCUBE_CHECK(index != indexes_.end());
    auto it = index->second.buckets.find(std::string(bucket));
    if (it == index->second.buckets.end()) return out;
    for (const std::string& key : it->second) out.push_back(objects_.find(key)->second);
    return out;
  }

  size_t size() const {
    std::shared_lock lock(mutex_);
    return objects_.size();
  }

  std::vector<std::string> keys() const {
    std::shared_lock lock(mutex_);
    std::vector<std::string> out;
    for (const auto& [key, object] : objects_) out.push_back(key);
    return out;
  }

 private:
  struct Index {
    KeysOf keys_of;
    std::unordered_map<std::string, std::set<std::string>> buckets;
    void insert(const std::string& key, const api::Object& object) {
      for (std::string& bucket : keys_of(object)) buckets[std::move(bucket)].insert(key);
    }
    void erase(const std::string& key, const api::Object& object) {
      for (const std::string& bucket : keys_of(object)) {
        auto it = buckets.find(bucket);
        if (it == buckets.end()) continue;
        it->second.erase(key);
        if (it->second.empty()) buckets.erase(it);
      }
    }
  };

  mutable std::shared_mutex mutex_;
  std::map<std::string, ObjectPtr, std::less<>> objects_;
  std::map<std::string, Index> indexes_;
};

class InformerImpl final : public Informer, public std::enable_shared_from_this<InformerImpl> {
 public:
  InformerImpl(Client& client, Clock& clock, Delivery& delivery, Executor& executor, GroupVersionResource resource, std::string ns,
               std::string field_selector)
      : client_(client), clock_(clock), delivery_(delivery), executor_(executor), resource_(std::move(resource)), ns_(std::move(ns)),
        field_selector_(std::move(field_selector)) {}

  void add_handlers(Handlers handlers) override {
    delivery_.post([self = shared_from_this(), handlers = std::move(handlers)] {
      if (handlers.changed)
        for (const ObjectPtr& object : self->objects_.list({})) handlers.changed(nullptr, object);
      self->handlers_.push_back(handlers);
    });
  }

  void add_index(const std::string& name, std::function<std::vector<std::string>(const api::Object&)> keys) override {
    objects_.add_index(name, std::move(keys));
  }

  bool synced() const override { return synced_; }
  void wait_synced() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return synced_ || stopped_; });
  }

  ObjectPtr get(std::string_view ns, std::string_view name) const override { return objects_.get(api::object_key(ns, name)); }
  ObjectPtr get(std::string_view key) const override { return objects_.get(key); }
  std::vector<ObjectPtr> list(std::string_view ns) const override { return objects_.list(ns); }
  std::vector<ObjectPtr> by_index(const std::string& name, std::string_view bucket) const override { return objects_.by_index(name, bucket); }
  size_t size() const override { return objects_.size(); }

  void start() {
    {
      std::lock_guard lock(mutex_);
      if (started_) return;
      started_ = true;
    }
    executor_.submit([self = shared_from_this()] { self->relist(); });
  }

  void stop() {
    std::unique_ptr<Watch> watch;
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      clock_.cancel(retry_);
      watch = std::move(watch_);
    }
    changed_.notify_all();
  }

 private:
  void relist() {
    auto list = client_.list(resource_, ns_, {.field_selector = field_selector_});
    if (!list) return retry(0, list.error());
    uint64_t revision = list->revision;
    delivery_.post([self = shared_from_this(), items = std::move(list->items)] { self->replace(items); });
    follow(revision);
  }

  void follow(uint64_t revision) {
    uint64_t generation;
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      generation = ++generation_;
      last_revision_ = revision;
    }
    std::weak_ptr<InformerImpl> weak = weak_from_this();
    auto watch = client_.watch(resource_, ns_, {.field_selector = field_selector_, .resource_version = std::to_string(revision)},
                               [weak, generation](const WatchEvent& event) {
                                 if (auto self = weak.lock()) self->receive(event, generation);
                               });
    if (!watch) return retry(watch.error().code() == 410 ? 0 : revision, watch.error());
    std::unique_ptr<Watch> old;  // before the lock, so that it goes after it
    std::lock_guard lock(mutex_);
    if (stopped_ || generation != generation_) {
      old = std::move(*watch);
    } else {
      old = std::exchange(watch_, std::move(*watch));
      followed_at_ = clock_.steady_now();
    }
    // `old` is destroyed after the lock is released: its destructor waits for a sink that may want our mutex.
  }

  // On the client's thread.
  void receive(const WatchEvent& event, uint64_t generation) {
    uint64_t resume_at;
    {
      std::lock_guard lock(mutex_);
      if (stopped_ || generation != generation_) return;
      if (event.type != WatchEvent::Type::error && event.revision > last_revision_) last_revision_ = event.revision;
      resume_at = last_revision_;
    }
    switch (event.type) {
      case WatchEvent::Type::error:
        // Never from inside the sink: resuming destroys the watch.
        executor_.submit([self = shared_from_this(), resume_at, status = event.status] {
          self->retry(status.code() == 410 ? 0 : resume_at, status);
        });
        break;
      case WatchEvent::Type::bookmark: break;
      case WatchEvent::Type::added:
      case WatchEvent::Type::modified:
        delivery_.post([self = shared_from_this(), object = event.object] { self->put(object); });
        break;
      case WatchEvent::Type::deleted:
        delivery_.post([self = shared_from_this(), object = event.object] { self->erase(object->key(), object); });
        break;
    }
  }

  // Resumes at `revision`, or lists again when it is 0, after a back-off that a success resets.
  void retry(uint64_t revision, const Status& why) {
    std::unique_ptr<Watch> old;
    std::unique_lock lock(mutex_);
    if (stopped_) return;
    ++generation_;
    old = std::move(watch_);
    // A watch that held a while was a success. That one began says nothing: to a remote server it fails later.
    if (old && clock_.steady_now() - followed_at_ > kHeld) failures_ = 0;
    Duration delay = failures_ == 0 ? Duration::zero() : std::min(kLastRetry, kFirstRetry * (int64_t{1} << std::min(failures_ - 1, 10)));
    ++failures_;
    if (failures_ > 2)
      log::warn("informer", "cannot follow", {{"resource", resource_.group_resource()}, {"error", why}});
    auto again = [weak = weak_from_this(), revision] {
      auto self = weak.lock();
      if (!self) return;
      self->executor_.submit([self, revision] { revision == 0 ? self->relist() : self->follow(revision); });
    };
    if (delay == Duration::zero()) {
      lock.unlock();
      again();
    } else {
      retry_ = clock_.schedule(delay, again);
    }
  }

  // --- Delivery thread ---
  void replace(const std::vector<ObjectPtr>& items) {
    std::set<std::string> present;
    for (const ObjectPtr& object : items) {
      present.insert(object->key());
      put(object);
    }
    for (const std::string& key : objects_.keys())
      if (!present.contains(key)) erase(key, nullptr);
    {
      std::lock_guard lock(mutex_);
      synced_ = true;
    }
    changed_.notify_all();
  }

  void put(const ObjectPtr& object) {
    ObjectPtr current = objects_.get(object->key());
    if (current && current->revision() >= object->revision() && current->uid() == object->uid()) return;
    ObjectPtr before = objects_.put(object->key(), object);
    // The same name with another uid is another object: its predecessor's end was missed.
    if (before && before->uid() != object->uid()) {
      for (const Handlers& h : handlers_)
        if (h.removed) h.removed(before);
      before = nullptr;
    }
    for (const Handlers& h : handlers_)
      if (h.changed) h.changed(before, object);
  }

  void erase(const std::string& key, const ObjectPtr& last) {
    ObjectPtr before = objects_.erase(key);
    if (!before) return;
    for (const Handlers& h : handlers_)
      if (h.removed) h.removed(last ? last : before);
  }

  Client& client_;
  Clock& clock_;
  Delivery& delivery_;
  Executor& executor_;
  const GroupVersionResource resource_;
  const std::string ns_, field_selector_;

  ObjectMap objects_;
  std::vector<Handlers> handlers_;  // delivery thread only

  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<Watch> watch_;
  SteadyTime followed_at_{};
  uint64_t generation_ = 0;  // of the watch; events of an older one are dropped
  uint64_t last_revision_ = 0;
  int failures_ = 0;
  TimerId retry_ = 0;
  bool started_ = false, stopped_ = false;
  std::atomic<bool> synced_{false};
};

}  // namespace

struct InformerFactory::Impl {
  Client& client;
  Clock& clock;
  Executor executor{{.name = "informer-list", .max_threads = 8}};
  Delivery delivery;
  std::mutex mutex;
  bool started = false, stopped = false;
  std::map<std::tuple<GroupVersionResource, std::string, std::string>, std::shared_ptr<InformerImpl>> informers;

  Impl(Client& c, Clock& k) : client(c), clock(k) {}
};

InformerFactory::InformerFactory(Client& client, Clock& clock) : impl_(std::make_unique<Impl>(client, clock)) {}
InformerFactory::~InformerFactory() { stop(); }

Informer& InformerFactory::informer(const GroupVersionResource& resource, std::string_view field_selector, std::string_view ns) {
  std::lock_guard lock(impl_->mutex);
  auto& slot = impl_->informers[{resource, std::string(ns), std::string(field_selector)}];
  if (!slot) {
    slot = std::make_shared<InformerImpl>(impl_->client, impl_->clock, impl_->delivery, impl_->executor, resource, std::string(ns),
                                          std::string(field_selector));
    if (impl_->started) slot->start();
  }
  return *slot;
}

void InformerFactory::start() {
  std::lock_guard lock(impl_->mutex);
  impl_->started = true;
  for (auto& [key, informer] : impl_->informers) informer->start();
}

void InformerFactory::wait_synced() {
  std::vector<std::shared_ptr<InformerImpl>> all;
  {
    std::lock_guard lock(impl_->mutex);
    for (auto& [key, informer] : impl_->informers) all.push_back(informer);
  }
  for (auto& informer : all) informer->wait_synced();
}

void InformerFactory::stop() {
  {
    std::lock_guard lock(impl_->mutex);
    if (std::exchange(impl_->stopped, true)) return;
    for (auto& [key, informer] : impl_->informers) informer->stop();
  }
  impl_->executor.stop();
  impl_->delivery.stop();
}

}  // namespace kcube::client
