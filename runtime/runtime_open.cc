// Opening the runtime: its programs, and the sandboxes that a former process left.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/process.h"
#include "runtime/capabilities.h"
#include "runtime/container_spec.h"
#include "runtime/root_fs.h"
#include "runtime/runtime_impl.h"
#include "runtime/seccomp.h"

extern "C" {
extern const unsigned char kcube_monitor_program[];
extern const unsigned long kcube_monitor_program_size;
extern const unsigned char kcube_pause_program[];
extern const unsigned long kcube_pause_program_size;
}

namespace kcube::runtime {
namespace {

// In memory and sealed: a container that gets hold of /proc/1/exe cannot change what others run (CVE-2019-5736).
Result<Fd> program(const char* name, const unsigned char* bytes, unsigned long size) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return fail(Status::from_errno("memfd_create"));
  for (unsigned long at = 0; at < size;) {
    ssize_t n = ::write(fd.get(), bytes + at, size - at);
    if (n <= 0) return fail(Status::from_errno(std::string("write the program ") + name));
    at += static_cast<unsigned long>(n);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    return fail(Status::from_errno(std::string("seal the program ") + name));
  return fd;
}

// Who listens on the socket, for a monitor that does not speak our protocol.
pid_t peer_of(const Fd& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

bool is_id(const std::string& name) {
  return name.size() == 64 &&
         std::ranges::all_of(name, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

RuntimeImpl::RuntimeImpl(RuntimeOptions options, Cgroups cgroups, std::unique_ptr<EventLoop> loop)
    : options_(std::move(options)),
      cgroups_(std::move(cgroups)),
      loop_(std::move(loop)),
      loop_thread_([this] { loop_->run(); }) {}

RuntimeImpl::~RuntimeImpl() {
  std::vector<std::shared_ptr<MonitorClient>> monitors;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, sandbox] : sandboxes_)
      if (sandbox->monitor) monitors.push_back(sandbox->monitor);
  }
  for (const auto& monitor : monitors) monitor->close();
  loop_->post([this] { loop_->stop(); });
  loop_thread_.join();
}

std::pair<std::string, std::string> RuntimeImpl::version() { return {"kcube", "0.1.0"}; }

Result<RuntimeImpl::SandboxPtr> RuntimeImpl::find_sandbox(const std::string& id) {
  std::lock_guard lock(mutex_);
  auto it = sandboxes_.find(id);
  if (it == sandboxes_.end()) return fail(Status::not_found("sandbox \"" + id + "\" not found"));
  return it->second;
}

Result<RuntimeImpl::Found> RuntimeImpl::find_container(const std::string& id) {
  std::lock_guard lock(mutex_);
  auto owner = sandbox_of_.find(id);
  auto sandbox = owner == sandbox_of_.end() ? sandboxes_.end() : sandboxes_.find(owner->second);
  if (sandbox == sandboxes_.end()) return fail(Status::not_found("container \"" + id + "\" not found"));
  auto container = sandbox->second->containers.find(id);
  if (container == sandbox->second->containers.end())
    return fail(Status::not_found("container \"" + id + "\" not found"));
  return Found{sandbox->second, container->second, sandbox->second->monitor};
}

Result<void> RuntimeImpl::open() {
  if (options_.images == nullptr) return fail(Status::internal("the runtime needs an image store"));
  for (const auto& directory : {options_.state_dir, options_.data_dir})
    if (auto r = file::make_dirs(directory, 0700); !r) return r;
  auto monitor = program("kcube-monitor", kcube_monitor_program, kcube_monitor_program_size);
  if (!monitor) return fail(monitor.error());
  auto pause = program("pause", kcube_pause_program, kcube_pause_program_size);
  if (!pause) return fail(pause.error());
  monitor_program_ = std::move(*monitor);
  pause_program_ = std::move(*pause);
  auto names = file::list(options_.state_dir);
  if (!names) return fail(names.error());
  for (const auto& name : *names)
    if (is_id(name)) take_over(name);
  remove_strays();
  // Compiling it takes 20 ms: ready before the first container asks.
  if (!options_.seccomp_dir.empty())
    loop_->post([] {
      if (auto capabilities = container_capabilities({})) (void)default_seccomp_filter(*capabilities);
    });
  return {};
}

void RuntimeImpl::take_over(const std::string& id) {
  auto sandbox = std::make_shared<Sandbox>();
  sandbox->record.id = id;
  auto record = read_sandbox_record(dir(id) + "/record");
  if (record) sandbox->record = std::move(*record);
  bool whole = record.has_value() && sandbox->record.ready != 0;

  std::optional<protocol::HelloReply> hello;
  if (auto socket = MonitorClient::connect(dir(id))) {
    pid_t pid = peer_of(*socket);
    connect(sandbox, std::move(*socket));
    auto answer = sandbox->monitor->call<protocol::HelloReply>(protocol::Type::hello, protocol::Target{});
    if (answer && answer->version == protocol::kProtocolVersion) {
      hello = std::move(*answer);
    } else {
      whole = false;
      // Its children die with it.
      if (auto pidfd = process::open_pid(pid); pid > 0 && pidfd) {
        (void)process::send_signal(*pidfd, SIGKILL);
        process::wait_exit(*pidfd, std::chrono::seconds(10));
      }
    }
  }
  if (whole) {
    sandbox->record.pause_pid = hello ? hello->pause_pid : 0;
    sandbox->ready = hello && hello->pause_pid > 0 && sandbox->record.ready == 1;
  }
  restore_containers(*sandbox, hello ? &*hello : nullptr);
  {
    std::lock_guard lock(mutex_);
    sandboxes_[id] = sandbox;
  }
  if (whole) return;
  log::info("runtime", "removing a sandbox that was left half made", {{"sandbox", id}});
  if (auto r = remove_sandbox(id); !r)
    log::warn("runtime", "cannot remove a sandbox", {{"sandbox", id}, {"error", r.error()}});
}

void RuntimeImpl::restore_containers(Sandbox& sandbox, const protocol::HelloReply* hello) {
  auto names = file::list(dir(sandbox.record.id) + "/containers");
  if (!names) return;
  std::lock_guard lock(mutex_);
  for (const auto& name : *names) {
    std::string directory = dir(sandbox.record.id) + "/containers/" + name;
    auto record = read_container_record(directory + "/record");
    if (!record) {
      (void)file::remove_tree(directory);  // its files elsewhere go with remove_strays()
      continue;
    }
    auto container = std::make_shared<Container>();
    container->record = std::move(*record);
    auto exit = read_exit(directory + "/exit");
    if (exit) record_end(*container, *exit);
    if (!container->record.start_error.empty()) {
      container->state = ContainerState::exited;
      container->exit.code = 128;
      container->reason = "StartError";
      container->message = container->record.start_error;
    }
    if (hello != nullptr) {
      for (const auto& entry : hello->containers) {
        if (entry.id != name) continue;
        container->pid = entry.pid;
        container->started_at_ns = entry.started_at_ns;
        if (entry.running)
          container->state = ContainerState::running;
        else
          record_end(*container, entry.exit);
      }
    } else if (!exit && container->record.start_error.empty()) {
      // Whether it ever ran is not known; from now on nothing of it does.
      cgroups_.kill(container->record.cgroup);
      protocol::Exited killed;
      killed.code = 128 + SIGKILL;
      record_end(*container, killed);
      container->message = "the container's end was not seen: the pod's monitor was gone";
    }
    sandbox_of_[name] = sandbox.record.id;
    sandbox.containers[name] = std::move(container);
  }
}

// Writable layers of containers that nobody knows: the machine was restarted, or kcube killed at the wrong moment.
void RuntimeImpl::remove_strays() {
  auto names = file::list(options_.data_dir);
  if (!names) return;
  for (const auto& name : *names) {
    if (!is_id(name) || sandbox_of_.contains(name)) continue;
    if (auto r = remove_root(root_dir(name)); !r)
      log::warn("runtime", "cannot remove a container's files", {{"container", name}, {"error", r.error()}});
    options_.images->unlease(name);
  }
}

Result<std::unique_ptr<PodRuntime>> open_runtime(const RuntimeOptions& options) {
  auto runtime = open_runtime_impl(options);
  if (!runtime) return fail(runtime.error());
  return std::move(*runtime);
}

Result<std::unique_ptr<RuntimeImpl>> open_runtime_impl(const RuntimeOptions& options) {
  auto cgroups = Cgroups::detect();
  if (!cgroups) return fail(cgroups.error());
  auto loop = EventLoop::create();
  if (!loop) return fail(loop.error());
  auto runtime = std::make_unique<RuntimeImpl>(options, std::move(*cgroups), std::move(*loop));
  if (auto r = runtime->open(); !r) return fail(r.error());
  return runtime;
}

Result<void> reset_runtime(const RuntimeOptions& options) {
  auto runtime = open_runtime(options);
  if (!runtime) return fail(runtime.error());
  auto sandboxes = (*runtime)->list_sandboxes();
  if (!sandboxes) return fail(sandboxes.error());
  Result<void> result;
  for (const auto& sandbox : *sandboxes)
    if (auto r = (*runtime)->remove_sandbox(sandbox.id); !r) result = fail(r.error());
  runtime->reset();
  if (!result) return result;
  auto cgroups = Cgroups::detect();
  if (!cgroups) return fail(cgroups.error());
  if (!options.cgroup_root.empty() && options.cgroup_root != "/")
    if (auto r = cgroups->remove(options.cgroup_root); !r) return r;
  if (auto r = file::remove_tree(options.state_dir); !r) return r;
  return file::remove_tree(options.data_dir);
}

}  // namespace kcube::runtime
