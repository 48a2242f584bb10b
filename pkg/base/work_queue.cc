#include "pkg/base/work_queue.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

namespace kcube {

struct WorkQueue::Impl {
  Clock& clock;
  BackOff back_off;
  mutable std::mutex mutex;
  std::condition_variable ready;
  std::deque<std::string> queue;
  std::unordered_set<std::string> waiting;     // in `queue`, or to be queued when done
  std::unordered_set<std::string> processing;  // taken and not done
  std::unordered_map<std::string, int> failures;
  // The earliest pending delayed add of each key; a later one is dropped.
  struct Delayed {
    SteadyTime when;
    TimerId timer;
  };
  std::unordered_map<std::string, Delayed> delayed;
  bool shut_down = false;
  std::function<void()> on_ready;

  void push_locked(const std::string& key) {
    queue.push_back(key);
    ready.notify_one();
    if (on_ready) on_ready();
  }

  Impl(Clock& c, BackOff b) : clock(c), back_off(b) {}

  void add_locked(const std::string& key) {
    if (shut_down || !waiting.insert(key).second) return;
    if (processing.contains(key)) return;
    push_locked(key);
  }

  std::string pop_locked() {
    std::string key = std::move(queue.front());
    queue.pop_front();
    waiting.erase(key);
    processing.insert(key);
    return key;
  }
};

WorkQueue::WorkQueue(Clock& clock, BackOff back_off) : impl_(std::make_shared<Impl>(clock, back_off)) {}
WorkQueue::~WorkQueue() { shut_down(); }

void WorkQueue::add(const std::string& key) {
  std::lock_guard lock(impl_->mutex);
  impl_->add_locked(key);
}

void WorkQueue::add_after(const std::string& key, Duration delay) {
  if (delay <= Duration::zero()) return add(key);
  std::lock_guard lock(impl_->mutex);
  if (impl_->shut_down) return;
  SteadyTime when = impl_->clock.steady_now() + delay;
  if (auto it = impl_->delayed.find(key); it != impl_->delayed.end()) {
    if (it->second.when <= when) return;
    impl_->clock.cancel(it->second.timer);
    impl_->delayed.erase(it);
  }
  // The timer may outlive the queue: it holds the state weakly.
  auto timer = impl_->clock.schedule(delay, [weak = std::weak_ptr(impl_), key, when] {
    auto impl = weak.lock();
    if (!impl) return;
    std::lock_guard inner(impl->mutex);
    if (auto it = impl->delayed.find(key); it != impl->delayed.end() && it->second.when == when) impl->delayed.erase(it);
    impl->add_locked(key);
  });
  impl_->delayed.emplace(key, Impl::Delayed{when, timer});
}

void WorkQueue::add_rate_limited(const std::string& key) {
  Duration delay;
  {
    std::lock_guard lock(impl_->mutex);
    int n = impl_->failures[key]++;
    delay = n >= 40 ? impl_->back_off.limit : std::min(impl_->back_off.limit, impl_->back_off.first * (int64_t{1} << std::min(n, 30)));
  }
  add_after(key, delay);
}

void WorkQueue::forget(const std::string& key) {
  std::lock_guard lock(impl_->mutex);
  impl_->failures.erase(key);
}

int WorkQueue::failures(const std::string& key) const {
  std::lock_guard lock(impl_->mutex);
  auto it = impl_->failures.find(key);
  return it == impl_->failures.end() ? 0 : it->second;
}

std::optional<std::string> WorkQueue::take() {
  std::unique_lock lock(impl_->mutex);
  impl_->ready.wait(lock, [&] { return impl_->shut_down || !impl_->queue.empty(); });
  if (impl_->shut_down) return std::nullopt;
  return impl_->pop_locked();
}

std::optional<std::string> WorkQueue::try_take() {
  std::lock_guard lock(impl_->mutex);
  if (impl_->shut_down || impl_->queue.empty()) return std::nullopt;
  return impl_->pop_locked();
}

void WorkQueue::done(const std::string& key) {
  std::lock_guard lock(impl_->mutex);
  impl_->processing.erase(key);
  if (impl_->waiting.contains(key)) impl_->push_locked(key);
}

void WorkQueue::shut_down() {
  std::lock_guard lock(impl_->mutex);
  impl_->shut_down = true;
  for (auto& [key, delayed] : impl_->delayed) impl_->clock.cancel(delayed.timer);
  impl_->delayed.clear();
  impl_->ready.notify_all();
}

void WorkQueue::on_ready(std::function<void()> callback) {
  std::lock_guard lock(impl_->mutex);
  impl_->on_ready = std::move(callback);
}

size_t WorkQueue::size() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->queue.size();
}

}  // namespace kcube
