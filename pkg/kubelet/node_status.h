// The Node object of this node: registered once, its status kept true, its Lease renewed.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "pkg/kubelet/context.h"

namespace kcube::kubelet {

class NodeStatus {
 public:
  explicit NodeStatus(Context& context) : context_(context) {}
  ~NodeStatus() { stop(); }

  // Fills context.memory_bytes and cpu_millis; before pods are taken.
  void measure();
  // Creates or updates the Node.
  Result<void> start();
  void stop();
  void set_network_ready(bool ready, std::string why);
  bool ready() const { return ready_; }

 private:
  json::object desired_status();
  void say_changes(const json::array& conditions);
  void event(std::string_view reason);
  Result<void> register_node();
  Result<void> write_status();
  void renew_lease();
  void schedule_lease(Duration delay);
  void schedule_status(Duration delay);

  Context& context_;
  std::mutex mutex_;
  bool network_ready_ = true;
  std::string network_message_;
  json::value last_conditions_;
  std::string uid_;
  std::atomic<bool> ready_{false}, stopped_{false};
  std::mutex timers_;
  TimerId lease_timer_ = 0, status_timer_ = 0;
  SteadyTime last_renewal_{};  // the executor's
  Executor executor_{{.name = "node-status", .max_threads = 2}};
};

}  // namespace kcube::kubelet
