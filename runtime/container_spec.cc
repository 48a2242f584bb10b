#include "runtime/container_spec.h"

#include <sched.h>
#include <sys/mount.h>

#include "pkg/base/file.h"

namespace kcube::runtime {
namespace {

// Of /proc and /sys, what tells about or reaches the whole machine. The list is the kubelet's (procMount: Default).
constexpr const char* kMasked[] = {"/proc/acpi",       "/proc/asound",      "/proc/interrupts",
                                   "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                   "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                                   "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
constexpr const char* kReadonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

void set_namespaces(const SpecInputs& in, ContainerRecord& record) {
  auto& spec = record.spec;
  const SandboxRecord& sandbox = in.sandbox;
  spec.clone_flags = CLONE_NEWNS;
  if (sandbox.network == NamespaceMode::pod) spec.join_flags |= CLONE_NEWNET | CLONE_NEWUTS;
  if (sandbox.ipc == NamespaceMode::pod) spec.join_flags |= CLONE_NEWIPC;
  if (!in.config.target_container_id.empty() && sandbox.pid == NamespaceMode::container)
    spec.join_pid_of = in.config.target_container_id;
  else if (sandbox.pid == NamespaceMode::pod)
    spec.join_flags |= CLONE_NEWPID;
  else if (sandbox.pid != NamespaceMode::node)
    spec.clone_flags |= CLONE_NEWPID;
  spec.cgroup_namespace = !in.config.security.privileged;
  record.exec_join_flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWCGROUP;
  if (sandbox.user_namespace_start != 0) record.exec_join_flags |= CLONE_NEWUSER;
  spec.ids = sandbox.ids();
}

Result<int> stop_signal(const SpecInputs& in) {
  if (in.config.stop_signal > 0) return in.config.stop_signal;
  if (in.image.stop_signal.empty()) return 15;
  int number = parse_signal(in.image.stop_signal);
  if (number == 0)
    return fail(Status::bad_request("the image's stop signal \"" + in.image.stop_signal + "\" is unknown"));
  return number;
}

}  // namespace

std::string volume_lease(const std::string& container_id, size_t index) {
  return container_id + "-volume-" + std::to_string(index);
}

Result<void> fill_spec(const SpecInputs& in, ContainerRecord& record) {
  const ContainerConfig& config = in.config;
  record.sandbox_id = in.sandbox.id;
  record.name = config.name;
  record.attempt = config.attempt;
  record.image_id = config.image_id;
  record.image_name = config.image_name;
  record.labels = to_pairs(config.labels);
  record.annotations = to_pairs(config.annotations);
  auto signal = stop_signal(in);
  if (!signal) return fail(signal.error());
  record.stop_signal = *signal;
  if (!config.log_path.empty() && !in.sandbox.log_directory.empty())
    record.log_path = in.sandbox.log_directory + "/" + config.log_path;

  auto& spec = record.spec;
  spec.id = record.id;
  spec.state_dir = in.sandbox_dir + "/containers/" + record.id;
  spec.root_mountpoint = in.sandbox_dir + "/root";
  spec.readonly_root = config.security.readonly_rootfs;
  spec.log_path = record.log_path;
  spec.log_max_bytes = config.log_max_bytes;
  spec.log_max_files = static_cast<uint32_t>(config.log_max_files < 1 ? 1 : config.log_max_files);
  spec.stdin_once = config.stdin_once;
  set_namespaces(in, record);
  auto process = make_process(in);
  if (!process) return fail(process.error());
  spec.process = std::move(*process);
  if (auto r = add_mounts(in, record); !r) return r;
  if (auto r = add_devices(config, spec); !r) return r;
  if (in.sandbox.user_namespace_start != 0) mount_devices(spec);
  if (!config.security.privileged && !config.security.unmasked_proc) {
    for (const char* path : kMasked) spec.masked_paths.push_back(path);
    for (const char* path : kReadonly) spec.readonly_paths.push_back(path);
  }
  return {};
}

}  // namespace kcube::runtime
