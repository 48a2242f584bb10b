// Monitor: one pod's guardian. Parent of pause, of every container and of every exec; outlives kcube.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "runtime/monitor/connection.h"
#include "runtime/monitor/loop.h"
#include "runtime/monitor/task.h"

namespace kcube::monitor {

class Monitor final : public RequestHandler, public TaskOwner, public Watcher {
 public:
  // `directory` is the sandbox's state directory; `first` is the connection of the kcube that started us.
  Monitor(std::string directory, Fd first);
  bool open();
  void run() { loop_.run(); }

  void on_request(Connection& connection, runtime::protocol::Type type, uint32_t id, const std::string& payload,
                  std::vector<Fd> fds) override;
  void on_closed(Connection& connection) override;
  void on_started(Task& task, const runtime::protocol::Started& started) override;
  void on_ready(int fd, uint32_t events) override;

 private:
  void accept_connection();
  void reap();
  void start_pause(Connection& connection, uint32_t id, const std::string& payload, std::vector<Fd> fds);
  void start_container(Connection& connection, uint32_t id, const std::string& payload, std::vector<Fd> fds);
  void start_exec(Connection& connection, uint32_t id, const std::string& payload, std::vector<Fd> fds);
  static Fd own_stdio(int number);
  std::string attach(const std::string& payload, std::vector<Fd>& fds);
  std::string signal(const std::string& payload);
  void hello(Connection& connection, uint32_t id);
  void shutdown();
  void finish_shutdown();

  // Clones a child that runs `body`, in the PID namespace of `pid_namespace` (a pidfd) when that is valid.
  void launch(std::unique_ptr<Task> task, uint64_t flags, int cgroup, int pid_namespace,
              const runtime::protocol::IdRange& ids,
              const std::function<void(const Channel&)>& body);
  void take_cgroup_files(Task& task, const runtime::protocol::CgroupEntry& cgroup, std::vector<Fd>& fds);
  Task* find(const std::string& id);
  void tell(const Task& task);
  void sweep();
  void refuse(Connection& connection, uint32_t id, const std::string& why);

  std::string directory_;
  Fd first_, listener_, signals_, own_pid_namespace_;
  Loop loop_;
  bool stopping_ = false;
  uint64_t last_serial_ = 0;
  std::list<std::unique_ptr<Connection>> connections_;
  std::list<std::unique_ptr<Task>> tasks_;
};

}  // namespace kcube::monitor
