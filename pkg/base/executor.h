// Executor: an elastic pool of threads. Threads are made when work waits and none is idle, up to a maximum, and leave
// after ten idle seconds, so that an idle kcube keeps few of them. The queue has a bound; submit() says when it is full.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace kcube {

struct ExecutorOptions {
  std::string name;            // seen in `top -H`, 15 characters at most
  size_t max_threads = 16;
  size_t queue_bound = 65536;  // tasks waiting, beyond those that run
};

class Executor {
 public:
  explicit Executor(ExecutorOptions options);
  // Runs what is queued, then joins.
  ~Executor();
  // Any thread. False when the queue is full or the executor is stopping; `task` is then not run.
  bool submit(std::function<void()> task);
  // Refuses new tasks, finishes the queued ones and joins every thread. Idempotent; not from inside a task.
  void stop();
  // Threads alive and tasks waiting, for metrics and tests.
  size_t threads() const;
  size_t queued() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Names the calling thread (prctl PR_SET_NAME), cut to 15 characters.
void set_thread_name(const std::string& name);

}  // namespace kcube
