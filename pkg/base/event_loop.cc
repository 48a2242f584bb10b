#include "pkg/base/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "pkg/base/fd.h"

namespace kcube {

struct EventLoop::Impl {
  // A watch is found again by descriptor and generation, so that an event queued for a closed descriptor is dropped.
  struct Watch {
    uint32_t generation;
    std::shared_ptr<std::function<void(uint32_t)>> callback;
  };

  Fd epoll;
  Fd wake;
  std::atomic<bool> stopping{false};
  std::atomic<std::thread::id> thread{};
  std::mutex mutex;
  std::vector<std::function<void()>> posted;
  std::unordered_map<int, Watch> watches;
  uint32_t generation = 0;
  std::map<std::pair<SteadyTime, TimerId>, std::function<void()>> timers;
  std::unordered_map<TimerId, SteadyTime> timer_when;
  TimerId last_timer = 0;

  static uint64_t tag(int fd, uint32_t generation) { return (uint64_t{generation} << 32) | static_cast<uint32_t>(fd); }

  int timeout_ms() const {
    if (timers.empty()) return -1;
    auto left = timers.begin()->first.first - std::chrono::steady_clock::now();
    if (left <= Duration::zero()) return 0;
    auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    return static_cast<int>(std::min<int64_t>(ms, 1 << 30));
  }

  void run_timers() {
    auto now = std::chrono::steady_clock::now();
    while (!timers.empty() && timers.begin()->first.first <= now) {
      auto it = timers.begin();
      auto action = std::move(it->second);
      timer_when.erase(it->first.second);
      timers.erase(it);
      action();
    }
  }

  void run_posted() {
    uint64_t count;
    while (::read(wake.get(), &count, sizeof count) > 0) {
    }
    std::vector<std::function<void()>> batch;
    {
      std::lock_guard lock(mutex);
      batch.swap(posted);
    }
    for (auto& action : batch) action();
  }

  void wake_up() {
    uint64_t one = 1;
    // EAGAIN means that the counter is full, so the loop is awake anyway.
    [[maybe_unused]] auto n = ::write(wake.get(), &one, sizeof one);
  }
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  std::unique_ptr<EventLoop> loop(new EventLoop());
  loop->impl_->epoll.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop->impl_->epoll) return fail(Status::from_errno("epoll_create1"));
  loop->impl_->wake.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->impl_->wake) return fail(Status::from_errno("eventfd"));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = Impl::tag(loop->impl_->wake.get(), 0);
  if (::epoll_ctl(loop->impl_->epoll.get(), EPOLL_CTL_ADD, loop->impl_->wake.get(), &event) != 0)
    return fail(Status::from_errno("epoll_ctl"));
  return loop;
}

void EventLoop::run() {
  impl_->thread = std::this_thread::get_id();
  std::array<epoll_event, 256> events;
  impl_->run_posted();
  while (!impl_->stopping) {
    int n = ::epoll_wait(impl_->epoll.get(), events.data(), events.size(), impl_->timeout_ms());
    if (n < 0 && errno != EINTR) KCUBE_CHECK(false && "epoll_wait failed");
    for (int i = 0; i < n && !impl_->stopping; ++i) {
      int fd = static_cast<int>(events[i].data.u64 & 0xffffffff);
      auto generation = static_cast<uint32_t>(events[i].data.u64 >> 32);
      if (fd == impl_->wake.get() && generation == 0) {
        impl_->run_posted();
        continue;
      }
      auto it = impl_->watches.find(fd);
      if (it == impl_->watches.end() || it->second.generation != generation) continue;
      auto callback = it->second.callback;  // kept alive while it runs
      (*callback)(events[i].events);
    }
    impl_->run_timers();
  }
  impl_->thread = std::thread::id();
}

void EventLoop::stop() {
  impl_->stopping = true;
  impl_->wake_up();
}

void EventLoop::post(std::function<void()> action) {
  bool first;
  {
    std::lock_guard lock(impl_->mutex);
    first = impl_->posted.empty();
    impl_->posted.push_back(std::move(action));
  }
  if (first) impl_->wake_up();
}

bool EventLoop::on_loop_thread() const { return impl_->thread.load() == std::this_thread::get_id(); }

Result<void> EventLoop::watch(int fd, uint32_t events, std::function<void(uint32_t)> callback) {
  uint32_t generation = ++impl_->generation;
  epoll_event event{};
  event.events = events;
  event.data.u64 = Impl::tag(fd, generation);
  if (::epoll_ctl(impl_->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail(Status::from_errno("epoll_ctl add"));
  impl_->watches[fd] = {generation, std::make_shared<std::function<void(uint32_t)>>(std::move(callback))};
  return {};
}

Result<void> EventLoop::modify(int fd, uint32_t events) {
  auto it = impl_->watches.find(fd);
  if (it == impl_->watches.end()) return fail(Status::internal("modify: descriptor is not watched"));
  epoll_event event{};
  event.events = events;
  event.data.u64 = Impl::tag(fd, it->second.generation);
  if (::epoll_ctl(impl_->epoll.get(), EPOLL_CTL_MOD, fd, &event) != 0) return fail(Status::from_errno("epoll_ctl mod"));
  return {};
}

void EventLoop::unwatch(int fd) {
  if (impl_->watches.erase(fd) > 0) ::epoll_ctl(impl_->epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
}

TimerId EventLoop::schedule(Duration delay, std::function<void()> action) {
  auto when = std::chrono::steady_clock::now() + delay;
  TimerId id = ++impl_->last_timer;
  impl_->timers.emplace(std::pair{when, id}, std::move(action));
  impl_->timer_when.emplace(id, when);
  return id;
}

bool EventLoop::cancel(TimerId id) {
  auto it = impl_->timer_when.find(id);
  if (it == impl_->timer_when.end()) return false;
  impl_->timers.erase({it->second, id});
  impl_->timer_when.erase(it);
  return true;
}

}  // namespace kcube
