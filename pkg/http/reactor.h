// The threads and the epoll set under all connections of one server. See server.h for how threads are added.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/http/connection.h"
#include "pkg/http/server.h"
#include "pkg/http/tls.h"

namespace kcube::http {

// Milliseconds of the steady clock.
int64_t steady_ms();

struct Listener {
  Fd fd;
  bool tls = false;
  uint16_t port = 0;
  std::string unix_path;
};

class SocketTunnel;

// Lives until the last connection that somebody still holds is gone; finish() ends its threads long before.
class Reactor final : public std::enable_shared_from_this<Reactor> {
 public:
  Reactor(ServerOptions options, Handler handler, TlsContext context);

  Result<void> open();
  void add_listener(Listener listener);
  void start();
  void stop(std::chrono::milliseconds deadline);
  // stop(), then waits for every thread. Not from one of them.
  void finish();
  void set_context(TlsContext context);

  // --- For connections, any thread ---
  void post(std::shared_ptr<Connection> connection);
  // Runs `task` on a worker, where it may block.
  void post(std::function<void()> task);
  void remove(const Connection& connection);
  // Takes the connection out of the epoll set and keeps its tunnel closable until it dies.
  void hand_over(const Connection& connection, const std::shared_ptr<SocketTunnel>& tunnel);
  // The calling handler keeps its thread for long: it does not count against max_threads until it returns.
  void lend_thread();
  void handler_started() { ++handlers_; }
  void handler_finished();

  const ServerOptions& options() const { return options_; }
  const Handler& handler() const { return handler_; }
  bool stopping() const { return stopping_; }
  size_t connections() const { return count_; }

 private:
  struct Worker {
    std::thread thread;
    int stat_fd = -1;  // /proc/self/task/TID/stat
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections;
  };
  static constexpr size_t kShards = 16;

  void work();
  void run_posted();
  void run_task();
  void accept_some(size_t listener);
  void accept_batch(Listener& listener);
  void adopt(Fd fd, const Listener& listener, std::string remote);
  std::shared_ptr<Connection> find(uint64_t id);
  std::vector<std::shared_ptr<Connection>> all();
  bool spawn();
  void join_retired();
  void supervise();
  void relieve();
  size_t running_workers();
  void sweep();
  void wake_supervisor();
  void end_connections(bool also_busy);

  const ServerOptions options_;
  const Handler handler_;
  std::mutex context_mutex_;
  TlsContext context_;
  Fd epoll_, wake_, alarm_, spare_;
  std::deque<Listener> listeners_;
  std::vector<Shard> shards_{kShards};
  std::atomic<size_t> count_{0};
  std::atomic<uint64_t> last_id_{0};

  std::mutex posted_mutex_;
  std::deque<std::shared_ptr<Connection>> posted_;
  std::deque<std::function<void()>> tasks_;

  std::atomic<int> idle_{0};           // workers in epoll_wait
  std::atomic<uint64_t> progress_{0};  // events taken
  std::atomic<bool> supervisor_asleep_{false};
  std::atomic<bool> stopping_{false}, quit_{false};
  std::atomic<int> handlers_{0};
  std::mutex workers_mutex_;
  std::condition_variable workers_changed_;
  std::map<std::thread::id, Worker> workers_;
  std::vector<std::thread> retired_;  // left work(), to be joined
  size_t lent_ = 0;
  size_t base_threads_;
  std::thread supervisor_;
  int64_t next_sweep_ms_ = 0;

  std::mutex tunnels_mutex_;
  std::vector<std::weak_ptr<SocketTunnel>> tunnels_;
};

}  // namespace kcube::http
