// Sandboxes: namespaces held by pause, guarded by a monitor, with groups, a network and the files every container sees.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "runtime/runtime_impl.h"

namespace kcube::runtime {
namespace {

constexpr uint64_t kShmBytes = 64 << 20;

std::string resolv_conf(const DnsConfig& dns) {
  std::string out;
  if (!dns.searches.empty()) out += "search " + join(dns.searches, " ") + "\n";
  for (const auto& server : dns.servers) out += "nameserver " + server + "\n";
  if (!dns.options.empty()) out += "options " + join(dns.options, " ") + "\n";
  return out;
}

std::string hosts_file(const SandboxConfig& config, const std::vector<std::string>& ips) {
  std::string out = config.hosts_file.empty() ? "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                                              : config.hosts_file;
  if (out.back() != '\n') out += "\n";
  for (const auto& ip : ips)
    if (!config.hostname.empty()) out += ip + "\t" + config.hostname + "\n";
  return out;
}

SandboxRecord record_of(const SandboxConfig& config) {
  SandboxRecord out;
  out.id = to_hex(random_bytes(32));
  out.name = config.name;
  out.namespace_ = config.namespace_;
  out.uid = config.uid;
  out.attempt = config.attempt;
  out.created_at_ns = to_ns(std::chrono::system_clock::now());
  out.hostname = config.hostname;
  out.log_directory = config.log_directory;
  out.cgroup_parent = config.cgroup_parent;
  out.network = config.network;
  out.pid = config.pid;
  out.ipc = config.ipc;
  out.user_namespace_start = config.user_namespace_start;
  out.labels = to_pairs(config.labels);
  out.annotations = to_pairs(config.annotations);
  return out;
}

Result<void> check(const SandboxConfig& config) {
  if (config.user_namespace_start != 0) {
    if (config.network != NamespaceMode::pod || config.pid == NamespaceMode::node || config.ipc != NamespaceMode::pod)
      return fail(Status::bad_request("a pod with a user namespace (hostUsers: false) has network, PID and IPC "
                                      "namespaces of its own"));
    if (auto r = check_user_namespaces(); !r) return r;
  }
  if (config.cgroup_parent.empty() || config.cgroup_parent[0] != '/' ||
      config.cgroup_parent.find("/..") != std::string::npos)
    return fail(
        Status::bad_request("cgroup_parent \"" + config.cgroup_parent + "\" must be an absolute path without \"..\""));
  for (const auto& [name, value] : config.sysctls) {
    bool network = name.starts_with("net.") || name.starts_with("net/");
    if (network && config.network != NamespaceMode::pod)
      return fail(Status::bad_request("sysctl " + name + " needs a network namespace of the pod's own"));
    if (name.find("..") != std::string::npos) return fail(Status::bad_request("sysctl \"" + name + "\" is malformed"));
  }
  return {};
}

// "net.ipv4.ip_forward" or, for names with dots in a part, "net/ipv4/conf/eth0.1/forwarding".
std::string sysctl_path(const std::string& name) {
  return name.find('/') == std::string::npos ? replace_all(name, ".", "/") : name;
}

uint64_t namespaces_of(const SandboxRecord& record) {
  uint64_t flags = 0;
  if (record.user_namespace_start != 0) flags |= CLONE_NEWUSER;
  if (record.network == NamespaceMode::pod) flags |= CLONE_NEWNET | CLONE_NEWUTS;
  if (record.ipc == NamespaceMode::pod) flags |= CLONE_NEWIPC;
  if (record.pid == NamespaceMode::pod) flags |= CLONE_NEWPID;
  return flags;
}

}  // namespace

Result<void> check_user_namespaces() {
  auto missing = [](const std::string& what) {
    return fail(Status(501, "NotImplemented", "user namespaces (hostUsers: false) need " + what));
  };
  if (!file::exists("/proc/self/ns/user")) return missing("a kernel with CONFIG_USER_NS");
  auto limit = file::read("/proc/sys/user/max_user_namespaces");
  if (limit && parse_int<int64_t>(trim(*limit)).value_or(1) == 0)
    return missing("the sysctl user.max_user_namespaces to be more than 0");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(-1);
  ::syscall(SYS_mount_setattr, -1, "", AT_EMPTY_PATH, &attributes, sizeof attributes);
  if (errno == ENOSYS) return missing("ID-mapped mounts: Linux 5.12, for images 5.19");
  return {};
}

SandboxStatus RuntimeImpl::status_of(const Sandbox& sandbox) const {
  const SandboxRecord& r = sandbox.record;
  SandboxStatus out;
  out.id = r.id;
  out.name = r.name;
  out.namespace_ = r.namespace_;
  out.uid = r.uid;
  out.attempt = r.attempt;
  out.state = sandbox.ready ? SandboxState::ready : SandboxState::not_ready;
  out.created_at = from_ns(r.created_at_ns);
  out.ips = r.ips;
  out.pause_pid = r.pause_pid;
  if (r.pause_pid > 0) out.netns_path = "/proc/" + std::to_string(r.pause_pid) + "/ns/net";
  out.labels = to_labels(r.labels);
  out.annotations = to_labels(r.annotations);
  return out;
}

Result<SandboxStatus> RuntimeImpl::run_sandbox(const SandboxConfig& config) {
  if (auto r = check(config); !r) return fail(r.error());
  auto sandbox = std::make_shared<Sandbox>();
  sandbox->record = record_of(config);
  std::lock_guard ops(sandbox->ops);
  if (auto r = bring_up(*sandbox, sandbox, config); !r) {
    if (auto wiped = wipe(sandbox); !wiped)
      log::warn("runtime", "a sandbox that failed leaves traces",
                {{"sandbox", sandbox->record.id}, {"error", wiped.error()}});
    return fail(r.error());
  }
  std::lock_guard lock(mutex_);
  sandboxes_[sandbox->record.id] = sandbox;
  return status_of(*sandbox);
}

Result<void> RuntimeImpl::bring_up(Sandbox& sandbox, const SandboxPtr& self, const SandboxConfig& config) {
  const std::string directory = dir(sandbox.record.id);
  for (const char* part : {"", "/root", "/containers"})
    if (::mkdir((directory + part).c_str(), 0700) != 0) return fail(Status::from_errno("make " + directory + part));
  if (auto r = write_record(directory + "/record", sandbox.record); !r) return r;
  std::string cgroup = config.cgroup_parent + "/" + sandbox.record.id;
  if (auto r = cgroups_.create(cgroup); !r) return r;
  auto socket = MonitorClient::spawn(monitor_program_, directory, cgroups_.open_unified(cgroup), options_.own_stdio);
  if (!socket) return fail(socket.error());
  connect(self, std::move(*socket));
  if (auto r = start_pause(sandbox, config); !r) return r;

  std::vector<std::string> ips;
  if (options_.network != nullptr && config.network == NamespaceMode::pod) {
    auto netns = file::open("/proc/" + std::to_string(sandbox.record.pause_pid) + "/ns/net", O_RDONLY);
    if (!netns) return fail(netns.error());
    auto attached = options_.network->attach(sandbox.record.id, *netns, config);
    if (!attached) return fail(attached.error().with_context("connect the sandbox to the network"));
    ips = std::move(*attached);
  }
  {
    std::lock_guard lock(mutex_);
    sandbox.record.ips = std::move(ips);
    sandbox.record.ready = 1;
    sandbox.ready = sandbox.monitor != nullptr;
    if (!sandbox.ready) return fail(Status::unavailable("the sandbox ended while it was being made"));
  }
  if (auto r = write_pod_files(sandbox, config); !r) return r;
  return write_record(directory + "/record", sandbox.record);
}

void RuntimeImpl::connect(const SandboxPtr& sandbox, Fd socket) {
  std::weak_ptr<Sandbox> weak = sandbox;
  auto client =
      MonitorClient::start(*loop_, std::move(socket),
                           {.exited = [this, weak](const protocol::Exited& exited) { on_exited(weak, exited); },
                            .closed = [this, weak] { on_lost(weak); }});
  std::lock_guard lock(mutex_);
  sandbox->monitor = std::move(client);
}

Result<void> RuntimeImpl::start_pause(Sandbox& sandbox, const SandboxConfig& config) {
  std::string cgroup = config.cgroup_parent + "/" + sandbox.record.id;
  protocol::StartPause request;
  request.clone_flags = namespaces_of(sandbox.record);
  request.ids = sandbox.record.ids();
  request.hostname = config.hostname.empty() ? config.name : config.hostname;
  for (const auto& [name, value] : config.sysctls) request.sysctls.push_back({sysctl_path(name), value});
  request.shm_bytes = config.ipc == NamespaceMode::pod ? kShmBytes : 0;
  std::vector<Fd> fds;
  auto entry = cgroups_.entry(cgroup, fds);
  if (!entry) return fail(entry.error());
  request.cgroup = *entry;
  std::vector<int> numbers;
  for (const auto& fd : fds) numbers.push_back(fd.get());
  request.program = static_cast<int32_t>(numbers.size());
  numbers.push_back(pause_program_.get());

  auto monitor = sandbox.monitor;
  auto hello = monitor->call<protocol::HelloReply>(protocol::Type::hello, protocol::Target{});
  if (!hello) return fail(hello.error());
  auto started = monitor->call<protocol::Started>(protocol::Type::start_pause, request, numbers);
  if (!started) return fail(started.error());
  if (!started->error.empty()) return fail(Status::internal(started->error).with_context("start the sandbox"));
  std::lock_guard lock(mutex_);
  sandbox.record.pause_pid = started->pid;
  return {};
}

Result<void> RuntimeImpl::write_pod_files(Sandbox& sandbox, const SandboxConfig& config) {
  std::string directory = dir(sandbox.record.id), hostname = config.hostname;
  if (hostname.empty()) {
    char own[256] = {};
    ::gethostname(own, sizeof own - 1);
    hostname = own;
  }
  std::string resolv = resolv_conf(config.dns);
  // No DNS configuration at all: the node's own (dnsPolicy Default without a kubelet's help, the command line).
  if (resolv.empty()) resolv = file::read("/etc/resolv.conf").value_or("");
  if (auto r = file::write(directory + "/resolv.conf", resolv); !r) return r;
  if (auto r = file::write(directory + "/hosts", hosts_file(config, sandbox.record.ips)); !r) return r;
  return file::write(directory + "/hostname", hostname + "\n");
}

Result<void> RuntimeImpl::stop_sandbox(const std::string& id) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return {};
  std::lock_guard ops((*sandbox)->ops);
  return stop_locked(*sandbox);
}

Result<void> RuntimeImpl::stop_locked(const SandboxPtr& sandbox) {
  std::shared_ptr<MonitorClient> monitor;
  bool was_ready;
  {
    std::lock_guard lock(mutex_);
    monitor = sandbox->monitor;
    was_ready = sandbox->ready;
    sandbox->ready = false;
  }
  if (monitor) {
    (void)monitor->send(protocol::Type::shutdown, "");
    std::unique_lock lock(mutex_);
    // The connection closes when the last process is reaped; one that the kernel holds must not hold us for ever.
    bool gone = changed_.wait_for(lock, std::chrono::seconds(30), [&] { return sandbox->monitor == nullptr; });
    lock.unlock();
    if (!gone) return fail(Status::timeout("waiting for the processes of sandbox " + sandbox->record.id + " to end"));
  }
  if (options_.network != nullptr && sandbox->record.network == NamespaceMode::pod)
    if (auto r = options_.network->detach(sandbox->record.id); !r)
      return fail(r.error().with_context("disconnect the sandbox from the network"));
  if (sandbox->record.ready != 2) {
    sandbox->record.ready = 2;
    if (auto r = write_record(dir(sandbox->record.id) + "/record", sandbox->record); !r) return r;
  }
  if (was_ready) emit(Event::Type::sandbox_stopped, sandbox->record);
  return {};
}

Result<void> RuntimeImpl::remove_sandbox(const std::string& id) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return {};
  std::lock_guard ops((*sandbox)->ops);
  if (auto r = stop_locked(*sandbox); !r) return r;
  std::vector<ContainerPtr> containers;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [name, container] : (*sandbox)->containers) containers.push_back(container);
  }
  for (const auto& container : containers)
    if (auto r = remove_locked({*sandbox, container, nullptr}); !r) return r;
  if (auto r = wipe(*sandbox); !r) return r;
  std::lock_guard lock(mutex_);
  (*sandbox)->removed = true;
  sandboxes_.erase(id);
  return {};
}

// Everything of the sandbox but its containers; also for one that was never ready.
Result<void> RuntimeImpl::wipe(const SandboxPtr& sandbox) {
  std::shared_ptr<MonitorClient> monitor;
  {
    std::lock_guard lock(mutex_);
    monitor = sandbox->monitor;
  }
  const std::string& id = sandbox->record.id;
  if (monitor) {
    (void)monitor->send(protocol::Type::shutdown, "");
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [&] { return sandbox->monitor == nullptr; });
  }
  if (options_.network != nullptr && sandbox->record.network == NamespaceMode::pod)
    if (auto r = options_.network->detach(id); !r) return r;
  if (!sandbox->record.cgroup_parent.empty()) {
    if (auto r = cgroups_.remove(sandbox->record.cgroup_parent + "/" + id); !r) return r;
    cgroups_.remove_if_empty(sandbox->record.cgroup_parent);
  }
  return file::remove_tree(dir(id));
}

Result<std::vector<SandboxStatus>> RuntimeImpl::list_sandboxes() {
  std::lock_guard lock(mutex_);
  std::vector<SandboxStatus> out;
  for (const auto& [id, sandbox] : sandboxes_) out.push_back(status_of(*sandbox));
  return out;
}

Result<SandboxStatus> RuntimeImpl::sandbox_status(const std::string& id) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return fail(sandbox.error());
  std::lock_guard lock(mutex_);
  return status_of(**sandbox);
}

}  // namespace kcube::runtime
