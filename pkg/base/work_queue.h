// WorkQueue: the keyed queue under every controller and pod worker. A key waits at most once; a key added while it is
// being worked on is handed out again when that work is done; one key is never worked on by two threads at a time.
// Failed keys come back with exponential back-off. Source: the semantics of client-go's util/workqueue.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pkg/base/clock.h"

namespace kcube {

struct BackOff {
  Duration first = std::chrono::milliseconds(5);
  Duration limit = std::chrono::seconds(1000);
};

class WorkQueue {
 public:
  explicit WorkQueue(Clock& clock, BackOff back_off = {});
  ~WorkQueue();

  // Any thread may call every method.
  void add(const std::string& key);
  void add_after(const std::string& key, Duration delay);
  // Adds after the key's back-off, which doubles with every call until forget().
  void add_rate_limited(const std::string& key);
  void forget(const std::string& key);
  int failures(const std::string& key) const;

  // Waits for a key; nullopt once shut down. Each key taken must be given back with done().
  std::optional<std::string> take();
  // The same without waiting, for simulations: nullopt when nothing is ready.
  std::optional<std::string> try_take();
  void done(const std::string& key);

  void shut_down();
  size_t size() const;

  // Called, with the queue's lock held, whenever a key becomes ready: for owners that run on an Executor instead of in
  // take(). It must only signal. Set before the first add.
  void on_ready(std::function<void()> callback);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kcube
