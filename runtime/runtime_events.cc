// What monitors say by themselves, heard on the loop's thread.
#include <signal.h>
#include <sys/eventfd.h>

#include "pkg/base/log.h"
#include "runtime/runtime_impl.h"

namespace kcube::runtime {

void RuntimeImpl::record_end(Container& container, const protocol::Exited& exited) {
  container.state = ContainerState::exited;
  container.exit = exited;
  container.reason = exited.oom_killed && exited.code != 0 ? "OOMKilled" : exited.code == 0 ? "Completed" : "Error";
}

void RuntimeImpl::finish(Execution& execution, bool lost, int code) {
  execution.done = true;
  execution.lost = lost;
  execution.code = code;
  ::eventfd_write(execution.ended.get(), 1);
}

void RuntimeImpl::on_exited(const std::weak_ptr<Sandbox>& weak, const protocol::Exited& exited) {
  SandboxPtr sandbox = weak.lock();
  if (!sandbox) return;
  bool container_ended = false, sandbox_ended = false;
  {
    std::lock_guard lock(mutex_);
    if (exited.id.empty()) {
      sandbox_ended = sandbox->ready;
      sandbox->ready = false;
    } else if (auto it = sandbox->containers.find(exited.id); it != sandbox->containers.end()) {
      record_end(*it->second, exited);
      container_ended = true;
    } else if (auto e = executions_.find(exited.id); e != executions_.end()) {
      finish(*e->second, false, exited.code);
    }
  }
  changed_.notify_all();
  if (container_ended) emit(Event::Type::container_stopped, sandbox->record, exited.id);
  if (sandbox_ended) emit(Event::Type::sandbox_stopped, sandbox->record);
}

// The monitor is gone: asked to go, or killed. Its children die with it (PR_SET_PDEATHSIG), and theirs with a PID
// namespace; in the node's they are found by their cgroup.
void RuntimeImpl::on_lost(const std::weak_ptr<Sandbox>& weak) {
  SandboxPtr sandbox = weak.lock();
  if (!sandbox) return;
  std::vector<std::string> ended, cgroups;
  bool was_ready;
  {
    std::lock_guard lock(mutex_);
    sandbox->monitor = nullptr;
    was_ready = sandbox->ready;
    sandbox->ready = false;
    for (const auto& [id, container] : sandbox->containers) {
      if (container->state != ContainerState::running) continue;
      protocol::Exited exited;
      exited.code = 128 + SIGKILL;
      exited.signal = SIGKILL;
      exited.finished_at_ns = to_ns(std::chrono::system_clock::now());
      record_end(*container, exited);
      container->message = "the pod's monitor was killed";
      ended.push_back(id);
      cgroups.push_back(container->record.cgroup);
    }
    for (const auto& [id, execution] : executions_)
      if (execution->sandbox_id == sandbox->record.id && !execution->done) finish(*execution, true, 0);
  }
  for (const auto& cgroup : cgroups) cgroups_.kill(cgroup);
  changed_.notify_all();
  if (was_ready)
    log::warn("runtime", "a pod's monitor is gone", {{"sandbox", sandbox->record.id}, {"pod", sandbox->record.name}});
  for (const auto& id : ended) emit(Event::Type::container_stopped, sandbox->record, id);
  if (was_ready) emit(Event::Type::sandbox_stopped, sandbox->record);
}

void RuntimeImpl::emit(Event::Type type, const SandboxRecord& sandbox, const std::string& container_id) {
  std::lock_guard lock(sink_mutex_);
  if (sink_) sink_({type, sandbox.id, sandbox.uid, container_id});
}

void RuntimeImpl::set_event_sink(std::function<void(const Event&)> sink) {
  std::lock_guard lock(sink_mutex_);
  sink_ = std::move(sink);
}

}  // namespace kcube::runtime
