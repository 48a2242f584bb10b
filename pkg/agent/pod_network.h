// Between the runtime, which wants a network for a sandbox, and the node's network, which exists only once the node knows
// its range of addresses: sandboxes wait here until then.
#pragma once

#include <condition_variable>
#include <mutex>

#include "net/network.h"
#include "runtime/pod_runtime.h"

namespace kcube::agent {

class PodNetwork final : public runtime::SandboxNetwork {
 public:
  // From now on sandboxes are connected; those that wait go on.
  void open(net::NodeNetwork* network);
  // Waiters fail.
  void close();
  Result<std::vector<std::string>> attach(const std::string& sandbox_id, const Fd& netns, const runtime::SandboxConfig& config) override;
  Result<void> detach(const std::string& sandbox_id) override;

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  net::NodeNetwork* network_ = nullptr;
  bool closed_ = false;
};

}  // namespace kcube::agent
