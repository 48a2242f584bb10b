#include "pkg/base/executor.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace kcube {
namespace {
constexpr auto kIdleLife = std::chrono::seconds(10);
}

struct Executor::Impl {
  ExecutorOptions options;
  mutable std::mutex mutex;
  std::condition_variable work;      // a task waits, or stopping
  std::condition_variable finished;  // a thread left
  std::deque<std::function<void()>> queue;
  size_t threads = 0;
  size_t idle = 0;
  bool stopping = false;

  void run() {
    set_thread_name(options.name);
    std::unique_lock lock(mutex);
    while (true) {
      if (queue.empty()) {
        if (stopping) break;
        ++idle;
        bool woken = work.wait_for(lock, kIdleLife, [&] { return stopping || !queue.empty(); });
        --idle;
        if (!woken) break;
        continue;
      }
      auto task = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
    --threads;
    finished.notify_all();
  }
};

Executor::Executor(ExecutorOptions options) : impl_(std::make_shared<Impl>()) { impl_->options = std::move(options); }
Executor::~Executor() { stop(); }

bool Executor::submit(std::function<void()> task) {
  bool spawn = false;
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->stopping || impl_->queue.size() >= impl_->options.queue_bound) return false;
    impl_->queue.push_back(std::move(task));
    if (impl_->idle < impl_->queue.size() && impl_->threads < impl_->options.max_threads) {
      ++impl_->threads;
      spawn = true;
    }
  }
  if (spawn) std::thread([impl = impl_] { impl->run(); }).detach();
  impl_->work.notify_one();
  return true;
}

void Executor::stop() {
  std::unique_lock lock(impl_->mutex);
  impl_->stopping = true;
  impl_->work.notify_all();
  impl_->finished.wait(lock, [&] { return impl_->threads == 0; });
}

size_t Executor::threads() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->threads;
}

size_t Executor::queued() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->queue.size();
}

void set_thread_name(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

}  // namespace kcube
