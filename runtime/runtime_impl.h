// RuntimeImpl: the runtime of our own. Private; see pod_runtime.h for the interface.
//
// Threads: callers' own, and one event loop on which monitors are heard. Locks, in this order: a sandbox's `ops`, held
// through operations that change what exists in it; `mutex_`, for every field of Sandbox, Container and Execution, held
// for no I/O; `sink_mutex_`. stop_container takes no `ops`, so that a second one with a shorter grace period gets in.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "pkg/base/event_loop.h"
#include "runtime/cgroups.h"
#include "runtime/image_store.h"
#include "runtime/monitor_client.h"
#include "runtime/pod_runtime.h"
#include "runtime/records.h"

namespace kcube::runtime {

struct Container {
  ContainerRecord record;
  ContainerState state = ContainerState::created;
  bool removed = false;
  int32_t pid = 0;
  int64_t started_at_ns = 0;
  protocol::Exited exit;
  std::string reason, message;
  Fd root;  // the root file system between create and start
};

struct Sandbox {
  std::mutex ops;
  SandboxRecord record;
  std::shared_ptr<MonitorClient> monitor;  // set while it lives
  bool ready = false, removed = false;
  std::map<std::string, std::shared_ptr<Container>> containers;
};

// An exec between its start and its end.
struct Execution {
  std::string sandbox_id;
  bool done = false, lost = false;
  int code = 0;
  Fd ended;  // eventfd: readable once done, for who also waits for streams
};

class RuntimeImpl final : public PodRuntime {
 public:
  RuntimeImpl(RuntimeOptions options, Cgroups cgroups, std::unique_ptr<EventLoop> loop);
  ~RuntimeImpl() override;
  // Makes the directories and programs, and takes over what runs.
  Result<void> open();

  std::pair<std::string, std::string> version() override;
  Result<SandboxStatus> run_sandbox(const SandboxConfig& config) override;
  Result<void> stop_sandbox(const std::string& id) override;
  Result<void> remove_sandbox(const std::string& id) override;
  Result<std::vector<SandboxStatus>> list_sandboxes() override;
  Result<SandboxStatus> sandbox_status(const std::string& id) override;
  Result<std::string> create_container(const std::string& sandbox_id, const ContainerConfig& config) override;
  Result<void> start_container(const std::string& id) override;
  Result<void> stop_container(const std::string& id, std::chrono::milliseconds grace) override;
  Result<void> remove_container(const std::string& id) override;
  Result<std::vector<ContainerStatus>> list_containers(const std::string& sandbox_id) override;
  Result<ContainerStatus> container_status(const std::string& id) override;
  Result<void> update_resources(const std::string& id, const ResourceLimits& limits) override;
  Result<ContainerStats> container_stats(const std::string& id) override;
  Result<ExecOutput> exec_sync(const std::string& id, const std::vector<std::string>& argv,
                               std::chrono::milliseconds timeout) override;
  Result<StreamSession> exec(const std::string& id, const std::vector<std::string>& argv,
                             const StreamOptions& options) override;
  Result<StreamSession> attach(const std::string& id, const StreamOptions& options) override;
  Result<Fd> dial(const std::string& sandbox_id, uint16_t port) override;
  void set_event_sink(std::function<void(const Event&)> sink) override;

  // For the OCI command line: a container whose spec is ready but for what depends on its id and place. The mount at
  // index `cgroup_mount`, if that is not -1, becomes that of the container's own cgroups.
  Result<std::string> create_prepared(const std::string& sandbox_id, ContainerRecord record,
                                      const ResourceLimits& limits, const std::vector<DeviceRule>& rules,
                                      int cgroup_mount);
  Result<void> signal_container(const std::string& id, int number);
  Result<protocol::Process> container_process(const std::string& id);
  // The same with another process: its user, capabilities and directory are not the container's.
  Result<StreamSession> exec_process(const std::string& id, protocol::Process process);

 private:
  void mount_cgroups(ContainerRecord& record, size_t at) const;
  using SandboxPtr = std::shared_ptr<Sandbox>;
  using ContainerPtr = std::shared_ptr<Container>;
  struct Found {
    SandboxPtr sandbox;
    ContainerPtr container;
    std::shared_ptr<MonitorClient> monitor;
  };
  // A process started by exec whose streams are the caller's.
  struct Started {
    std::string id;
    std::shared_ptr<Execution> execution;
    Found where;
  };

  // Lookups; 404 when unknown.
  Result<SandboxPtr> find_sandbox(const std::string& id);
  Result<Found> find_container(const std::string& id);
  std::string dir(const std::string& sandbox_id) const { return options_.state_dir + "/" + sandbox_id; }
  std::string container_dir(const Container& c) const {
    return dir(c.record.sandbox_id) + "/containers/" + c.record.id;
  }
  std::string root_dir(const std::string& container_id) const { return options_.data_dir + "/" + container_id; }

  // runtime_sandbox.cc
  Result<void> bring_up(Sandbox& sandbox, const SandboxPtr& self, const SandboxConfig& config);
  Result<void> start_pause(Sandbox& sandbox, const SandboxConfig& config);
  Result<void> write_pod_files(Sandbox& sandbox, const SandboxConfig& config);
  void connect(const SandboxPtr& sandbox, Fd socket);
  Result<void> stop_locked(const SandboxPtr& sandbox);
  Result<void> wipe(const SandboxPtr& sandbox);
  SandboxStatus status_of(const Sandbox& sandbox) const;

  // runtime_container.cc
  Result<void> prepare(const SandboxPtr& sandbox, Container& container, const ContainerConfig& config);
  Result<void> start_locked(const Found& found);
  Result<void> discard(Container& container);
  Result<void> remove_locked(const Found& found);
  bool wait_end(const Container& container, std::chrono::milliseconds patience);
  ContainerStatus status_of(const Container& container) const;

  // runtime_exec.cc
  Result<Started> start_exec(const std::string& id, const std::vector<std::string>& argv, const StreamOptions& options,
                             const int (&streams)[3], const protocol::Process* process = nullptr);
  StreamSession session_of(const Started& started, Fd in, Fd out, Fd err);
  void collect(const Started& started, const Fd& out, const Fd& err, SteadyTime deadline, ExecOutput& result);
  Result<int> wait_execution(const std::string& id, const std::shared_ptr<Execution>& execution,
                             std::chrono::milliseconds timeout);

  // runtime_events.cc: on the loop's thread.
  void on_exited(const std::weak_ptr<Sandbox>& weak, const protocol::Exited& exited);
  void on_lost(const std::weak_ptr<Sandbox>& weak);
  static void finish(Execution& execution, bool lost, int code);
  static void record_end(Container& container, const protocol::Exited& exited);
  void emit(Event::Type type, const SandboxRecord& sandbox, const std::string& container_id = {});

  // runtime_open.cc
  void take_over(const std::string& id);
  void restore_containers(Sandbox& sandbox, const protocol::HelloReply* hello);
  void remove_strays();

  RuntimeOptions options_;
  Cgroups cgroups_;
  std::unique_ptr<EventLoop> loop_;
  std::thread loop_thread_;
  Fd monitor_program_, pause_program_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, SandboxPtr> sandboxes_;
  std::map<std::string, std::string> sandbox_of_;  // container id -> sandbox id
  std::map<std::string, std::shared_ptr<Execution>> executions_;
  std::mutex sink_mutex_;
  std::function<void(const Event&)> sink_;
};

Result<std::unique_ptr<RuntimeImpl>> open_runtime_impl(const RuntimeOptions& options);

}  // namespace kcube::runtime
