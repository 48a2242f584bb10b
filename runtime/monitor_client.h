// MonitorClient: kcube's end of a pod monitor's socket. Calls block and may come from any thread; what the monitor
// says by itself arrives on the event loop's thread, where callbacks must not block.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pkg/base/event_loop.h"
#include "pkg/base/fd.h"
#include "pkg/base/status.h"
#include "runtime/protocol.h"

namespace kcube::runtime {

class MonitorClient : public std::enable_shared_from_this<MonitorClient> {
 public:
  struct Callbacks {
    std::function<void(const protocol::Exited&)> exited;
    // The monitor is gone, or broke the protocol. Once; not after close().
    std::function<void()> closed;
  };

  static std::shared_ptr<MonitorClient> start(EventLoop& loop, Fd socket, Callbacks callbacks);
  // To the monitor that listens in `directory`; fails with 404 when nobody does.
  static Result<Fd> connect(const std::string& directory);
  // Starts the monitor's program, which leaves our process tree at once; returns the connection to it.
  // It is born into `cgroup` (a cgroup2 directory) when that is valid. With `own_stdio` it gets our standard descriptors, else /dev/null.
  static Result<Fd> spawn(const Fd& program, const std::string& directory, const Fd& cgroup, bool own_stdio);

  // Sends a request with its descriptors and waits for the reply. 503 when the monitor is gone, 504 when it is silent.
  template <typename Reply, typename Request>
  Result<Reply> call(protocol::Type type, const Request& request, const std::vector<int>& fds = {}) {
    auto payload = exchange(type, protocol::encode(request), fds);
    if (!payload) return fail(payload.error());
    Reply reply;
    if (!protocol::decode(*payload, reply)) return fail(Status::internal("the pod's monitor sent a malformed reply"));
    return reply;
  }
  // The same without a reply.
  Result<void> send(protocol::Type type, const std::string& payload);
  // Stops watching the socket; callbacks may still be running when this returns.
  void close();

 private:
  struct Waiter {
    bool done = false;
    std::string payload;
  };
  MonitorClient(EventLoop& loop, Fd socket, Callbacks callbacks)
      : loop_(loop), socket_(std::move(socket)), callbacks_(std::move(callbacks)) {}
  Result<std::string> exchange(protocol::Type type, const std::string& payload, const std::vector<int>& fds);
  Result<void> write(protocol::Type type, uint32_t id, const std::string& payload, const std::vector<int>& fds);
  void on_readable();
  bool take_frames();
  void lost();

  EventLoop& loop_;
  Fd socket_;
  Callbacks callbacks_;
  std::string in_;          // loop thread
  bool watching_ = true;    // loop thread
  std::mutex write_mutex_;  // one frame at a time
  std::mutex mutex_;        // guards what follows
  std::condition_variable changed_;
  bool gone_ = false;
  uint32_t last_id_ = 0;
  std::map<uint32_t, std::shared_ptr<Waiter>> waiters_;
};

}  // namespace kcube::runtime
