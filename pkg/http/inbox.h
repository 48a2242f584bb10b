// Bytes on their way from a connection's reader thread to whoever reads one channel of it. Bounded: a full inbox holds
// the reader back, and so, through TCP, the client (kubectl's SPDY knows no windows). Thread-safe.
#pragma once

#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>

#include "pkg/base/status.h"

namespace kcube::http {

class Inbox {
 public:
  // Waits while full. False when nobody reads any more.
  bool push(std::string_view bytes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || bytes_.size() - start_ < kCapacity; });
    if (ended_) return false;
    bytes_.append(bytes);
    changed_.notify_all();
    return true;
  }
  // The writer is done: what is queued can still be read, then comes the end.
  void finish() {
    std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  // The writer is gone before its end: what is queued can still be read, then reading fails.
  void abort() {
    std::lock_guard lock(mutex_);
    if (!ended_) broken_ = true;
    ended_ = true;
    changed_.notify_all();
  }
  Result<size_t> read(char* to, size_t size) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || start_ < bytes_.size(); });
    size_t n = std::min(size, bytes_.size() - start_);
    std::memcpy(to, bytes_.data() + start_, n);
    start_ += n;
    if (start_ == bytes_.size() || start_ > kCapacity) bytes_.erase(0, std::exchange(start_, 0));
    changed_.notify_all();
    if (n == 0 && broken_) return fail(Status::unavailable("the connection is gone"));
    return n;
  }

 private:
  static constexpr size_t kCapacity = 1 << 20;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string bytes_;
  size_t start_ = 0;
  bool ended_ = false, broken_ = false;
};

}  // namespace kcube::http
