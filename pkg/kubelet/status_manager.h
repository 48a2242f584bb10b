// StatusManager: brings pods' statuses to the API server, the newest of each pod, without holding up the pod's worker.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "pkg/base/clock.h"
#include "pkg/base/executor.h"
#include "pkg/client/client.h"

namespace kcube::kubelet {

// Conditions that only the kubelet writes (PodScheduled is the scheduler's too). One that a status no longer has is removed.
bool is_kubelet_condition(std::string_view type);

class StatusManager {
 public:
  StatusManager(client::Client& client, Clock& clock) : client_(client), clock_(clock) {}
  ~StatusManager() { stop(); }

  // Queues `status`; skipped when it equals what was sent last.
  void set(const std::string& ns, const std::string& name, const std::string& uid, json::value status);
  // Sends what waits for this pod and returns when it is done (before a pod's last deletion).
  void flush(const std::string& uid);
  void forget(const std::string& uid);
  void stop();

 private:
  struct Entry {
    std::string ns, name;
    json::value pending, sent;
    bool has_pending = false, sending = false;
  };
  void send(const std::string& uid);

  client::Client& client_;
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::map<std::string, Entry> entries_;
  Executor executor_{{.name = "pod-status", .max_threads = 4}};
};

}  // namespace kcube::kubelet
