// The frame of every controller: informers in, a keyed work queue, a reconcile function, events out.
//
// A controller is one class in one file. It says which objects it follows (in its constructor, through the informer
// factory), maps each change to keys, and brings one key to what the API says in reconcile(). Failures come back with
// back-off. Controllers of a set share an Executor, so an idle set has no threads of its own. They speak to the cluster
// through client::Client alone and never to each other. To add one: see replica_set.cc and set.cc.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/executor.h"
#include "pkg/base/work_queue.h"
#include "pkg/client/client.h"
#include "pkg/client/informer.h"
#include "pkg/client/recorder.h"

namespace kcube::controllers {

struct Context {
  client::Client& client;
  client::InformerFactory& informers;
  Clock& clock;
  Executor& executor;
};

class Controller {
 public:
  // At most `concurrency` keys are reconciled at a time.
  Controller(Context context, std::string name, size_t concurrency = 4);
  virtual ~Controller();
  Controller(const Controller&) = delete;

  // After the informers have synced.
  void start();
  // Waits for reconciles that run.
  void stop();
  const std::string& name() const { return name_; }
  // For simulated time, instead of start(): the caller reconciles with step().
  void start_stepping() { on_start(); }
  // Reconciles what is ready on the calling thread; true when there was something.
  bool step();

 protected:
  // Any thread; before start() keys only gather.
  void enqueue(const std::string& key) { queue_.add(key); }
  void enqueue_after(const std::string& key, Duration delay) { queue_.add_after(key, delay); }
  // Runs once in start(), e.g. to enqueue a periodic key.
  virtual void on_start() {}
  // `key` is what was enqueued. A failure is retried with back-off; a conflict is not logged.
  virtual Result<void> reconcile(const std::string& key) = 0;

  // Follows a resource with keys made from its objects (both states of a change).
  client::Informer& follow(const client::GroupVersionResource& resource, std::function<std::vector<std::string>(const api::Object&)> keys);
  // The key "ns/name" of the object itself.
  client::Informer& follow_own(const client::GroupVersionResource& resource);
  // Keys of the controlling owner of the given kind: "ns/owner".
  client::Informer& follow_owned(const client::GroupVersionResource& resource, std::string_view owner_kind);

  client::Client& client_;
  client::InformerFactory& informers_;
  Clock& clock_;

 private:
  void pump();
  void reconcile_one(const std::string& key);

  Executor& executor_;
  const std::string name_;
  const size_t concurrency_;
  WorkQueue queue_;
  std::mutex mutex_;
  std::condition_variable idle_;
  size_t running_ = 0;
  bool started_ = false, stopping_ = false;
};

}  // namespace kcube::controllers
