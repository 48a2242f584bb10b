// The pod runtime: sandboxes and the containers in them, as the kubelet needs them.
//
// The interface has the shape of CRI's RuntimeService (k8s.io/cri-api runtime/v1), so that a CRI client can stand in
// for ours. It knows nothing of the Kubernetes API: plain structs in and out. Every method may be called from any
// thread and blocks until done; calls on one sandbox are serialised inside. Everything needed to find sandboxes again
// is on disk and in the pod's monitor process, so a restarted kcube calls list_sandboxes() and goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pkg/base/clock.h"
#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::runtime {

using Labels = std::map<std::string, std::string>;

// namespaces(7): whose namespace a sandbox uses. `target` (PID only) shares with one container, for ephemeral ones.
enum class NamespaceMode { pod, container, node, target };

enum class Protocol { tcp, udp, sctp };

struct PortMapping {
  Protocol protocol = Protocol::tcp;
  uint16_t container_port = 0;
  uint16_t host_port = 0;
  std::string host_ip;  // empty: every address of the node
};

// A sandbox's user namespace has this many ids, from 0 inside (KEP-127).
inline constexpr uint32_t kUserNamespaceIds = 65536;

struct DnsConfig {
  std::vector<std::string> servers, searches, options;
};

struct SandboxConfig {
  std::string name, namespace_, uid;
  uint32_t attempt = 0;
  std::string hostname;       // empty with the node's UTS namespace
  std::string log_directory;  // containers' log paths are relative to it
  DnsConfig dns;              // written to the sandbox's resolv.conf
  std::string hosts_file;     // content of /etc/hosts before the pod's own line is known; see etc_hosts
  std::vector<PortMapping> port_mappings;
  Labels labels, annotations;
  std::string cgroup_parent;  // below the controllers' roots, e.g. "/kcube/kubepods/burstable/pod<uid>"
  NamespaceMode network = NamespaceMode::pod;
  NamespaceMode pid = NamespaceMode::container;  // pod: shareProcessNamespace
  NamespaceMode ipc = NamespaceMode::pod;
  // hostUsers: false: the user namespace of the sandbox has the host's ids from here on. 0: the host's namespace.
  uint32_t user_namespace_start = 0;
  std::map<std::string, std::string> sysctls;
};

struct ResourceLimits {
  uint64_t cpu_shares = 0;   // cgroup v1 scale (2…262144); 0: unset
  int64_t cpu_quota_us = 0;  // per period; 0 or less: none
  uint64_t cpu_period_us = 100000;
  int64_t memory_limit_bytes = 0;    // 0: none
  int64_t pids_limit = 0;            // 0: none
  std::optional<int> oom_score_adj;  // EPERM and EACCES are tolerated and said once
  std::string cpuset_cpus, cpuset_mems;
  std::map<std::string, std::string> unified;  // cgroup v2 file -> value
};

enum class Propagation { private_, host_to_container, bidirectional };

struct Mount {
  std::string container_path, host_path;
  bool readonly = false;
  bool recursive_readonly = false;
  Propagation propagation = Propagation::private_;
  std::string image;  // image volume: the id of the image whose root is mounted; host_path is then empty
  std::string image_sub_path;
};

struct Device {
  std::string container_path, host_path, permissions;  // permissions of "rwm"
};

enum class SeccompProfile { runtime_default, unconfined, localhost };

struct SecurityConfig {
  bool privileged = false;
  std::vector<std::string> add_capabilities, drop_capabilities;  // "NET_ADMIN" or "ALL", without CAP_
  std::optional<int64_t> run_as_user, run_as_group;
  std::string run_as_username;  // looked up in the image's /etc/passwd
  std::vector<int64_t> supplemental_groups;
  bool supplemental_groups_strict = false;  // do not merge the image's /etc/group
  bool readonly_rootfs = false;
  bool no_new_privileges = false;
  bool unmasked_proc = false;  // procMount: Unmasked
  SeccompProfile seccomp = SeccompProfile::runtime_default;
  std::string seccomp_path;  // with localhost
};

struct ContainerConfig {
  std::string name;
  uint32_t attempt = 0;
  std::string image_id;              // as ImageStore::resolve() returns it
  std::string image_name;            // as the user wrote it, kept for status
  std::vector<std::string> command;  // empty: the image's entrypoint
  std::vector<std::string> args;     // empty and command empty: the image's cmd
  std::string working_dir;           // empty: the image's
  std::vector<std::string> env;      // "K=V", after the image's own
  std::vector<Mount> mounts;
  std::vector<Device> devices;
  Labels labels, annotations;
  std::string log_path;               // relative to the sandbox's log_directory; CRI log format
  uint64_t log_max_bytes = 10 << 20;  // rotated beyond
  int log_max_files = 5;
  bool stdin = false, stdin_once = false, tty = false;
  int stop_signal = 0;  // 0: the image's, else SIGTERM
  ResourceLimits resources;
  SecurityConfig security;
  std::string target_container_id;  // with NamespaceMode::target
};

enum class SandboxState { ready, not_ready };
enum class ContainerState { created, running, exited, unknown };

struct SandboxStatus {
  std::string id, name, namespace_, uid;
  uint32_t attempt = 0;
  SandboxState state = SandboxState::not_ready;
  SystemTime created_at{};
  std::vector<std::string> ips;  // empty with the node's network
  std::string netns_path;        // "/proc/<pause pid>/ns/net"
  pid_t pause_pid = 0;
  Labels labels, annotations;
};

struct ContainerStatus {
  std::string id, sandbox_id, name;
  uint32_t attempt = 0;
  ContainerState state = ContainerState::unknown;
  SystemTime created_at{}, started_at{}, finished_at{};
  int exit_code = 0;
  std::string reason;   // "Completed", "Error", "OOMKilled", "StartError" (exit_code 128), "ContainerCannotRun"
  std::string message;  // why the start failed, or the last bytes of the log where nothing better is known
  std::string image_id, image_name, log_path;
  pid_t pid = 0;
  int64_t uid = 0;  // the user it runs as
  Labels labels, annotations;
};

struct ContainerStats {
  std::string id;
  uint64_t cpu_usage_ns = 0;
  uint64_t memory_usage_bytes = 0, memory_working_set_bytes = 0, memory_rss_bytes = 0;
  uint64_t pids = 0;
};

// A change of state as it happens; `container_id` is empty for the sandbox itself.
struct Event {
  enum class Type { container_created, container_started, container_stopped, container_removed, sandbox_stopped };
  Type type;
  std::string sandbox_id, sandbox_uid, container_id;
};

struct ExecOutput {
  int exit_code = 0;
  std::string out, err;  // 16 MiB each at most
};

struct TerminalSize {
  uint16_t width = 0, height = 0;
};

// A running exec or an attachment: the caller's ends of the streams. With a tty everything comes over `out`.
// Closing `in` is the end of input to the process. `out` and `err` reach EOF when the process is done.
struct StreamSession {
  Fd in, out, err;
  // Any thread; without effect without a tty.
  std::function<void(TerminalSize)> resize;
  // Waits for the end: the exit code for exec (128 + signal when killed), 0 for attach. Call once.
  std::function<Result<int>()> wait;
};

struct StreamOptions {
  bool stdin = false, stdout = true, stderr = true, tty = false;
};

// How sandboxes get their network; net::PodNetwork behind an adapter, or nothing for the command line.
class SandboxNetwork {
 public:
  virtual ~SandboxNetwork() = default;
  // Connects the network namespace `netns` of the sandbox and returns its addresses, first the primary one.
  virtual Result<std::vector<std::string>> attach(const std::string& sandbox_id, const Fd& netns,
                                                  const SandboxConfig& config) = 0;
  // Undoes attach; also for what a killed kcube left behind. Unknown ids are fine.
  virtual Result<void> detach(const std::string& sandbox_id) = 0;
};

class PodRuntime {
 public:
  virtual ~PodRuntime() = default;

  // {"kcube", "0.1.0"} or what the CRI peer says.
  virtual std::pair<std::string, std::string> version() = 0;

  // Makes cgroups, namespaces, pause and monitor, attaches the network. Cleans up after itself on failure.
  virtual Result<SandboxStatus> run_sandbox(const SandboxConfig& config) = 0;
  // Kills what still runs in it (SIGKILL), detaches the network, ends pause and monitor. Idempotent; unknown ids fine.
  virtual Result<void> stop_sandbox(const std::string& id) = 0;
  // stop_sandbox and forgets it: state, root file systems, cgroups. Idempotent.
  virtual Result<void> remove_sandbox(const std::string& id) = 0;
  virtual Result<std::vector<SandboxStatus>> list_sandboxes() = 0;
  virtual Result<SandboxStatus> sandbox_status(const std::string& id) = 0;

  // Prepares the root file system (overlay over the image's layers), nothing runs yet. Returns the id.
  // Fails with reason "CreateContainerError" in Status::reason for what the image or the config lacks, e.g. a missing
  // executable is only found by start_container.
  virtual Result<std::string> create_container(const std::string& sandbox_id, const ContainerConfig& config) = 0;
  // Returns once the program was exec'ed, or with the reason it could not be ("StartError").
  virtual Result<void> start_container(const std::string& id) = 0;
  // Sends the stop signal, after `grace` SIGKILL, and waits for the end. Idempotent.
  virtual Result<void> stop_container(const std::string& id, std::chrono::milliseconds grace) = 0;
  // Removes a container that is not running (kills one that is); its logs stay. Idempotent.
  virtual Result<void> remove_container(const std::string& id) = 0;
  // Of one sandbox, or of all with an empty id.
  virtual Result<std::vector<ContainerStatus>> list_containers(const std::string& sandbox_id) = 0;
  virtual Result<ContainerStatus> container_status(const std::string& id) = 0;
  // Changes cgroup limits in place.
  virtual Result<void> update_resources(const std::string& id, const ResourceLimits& limits) = 0;
  virtual Result<ContainerStats> container_stats(const std::string& id) = 0;

  // Runs to the end; 504 after `timeout` (0: none), the process is then killed.
  virtual Result<ExecOutput> exec_sync(const std::string& id, const std::vector<std::string>& argv,
                                       std::chrono::milliseconds timeout) = 0;
  virtual Result<StreamSession> exec(const std::string& id, const std::vector<std::string>& argv,
                                     const StreamOptions& options) = 0;
  virtual Result<StreamSession> attach(const std::string& id, const StreamOptions& options) = 0;
  // A connection to `port` on the loopback address inside the sandbox's network namespace.
  virtual Result<Fd> dial(const std::string& sandbox_id, uint16_t port) = 0;

  // `sink` is called on a thread of the runtime for every event from now on; it must not block. One sink.
  virtual void set_event_sink(std::function<void(const Event&)> sink) = 0;
};

// Whether this kernel has what SandboxConfig::user_namespace_start needs; else says which part is missing.
Result<void> check_user_namespaces();

class ImageStore;

struct RuntimeOptions {
  std::string state_dir;              // e.g. /run/kcube/<name>/runtime: sockets, pids; gone at boot
  std::string data_dir;               // e.g. /var/lib/kcube/agent/containers: upper directories
  std::string cgroup_root;            // e.g. "/kcube"; made below every v1 hierarchy, or in the v2 tree
  std::string seccomp_dir;            // root of localhost profiles
  ImageStore* images = nullptr;       // outlives the runtime
  SandboxNetwork* network = nullptr;  // may be null: pods get a namespace with loopback only
  bool own_stdio = false;  // the OCI command line: monitors hold our standard descriptors for their container
};

// Our own runtime. Finds the sandboxes that a former process left running and takes them over (design: "containers
// outlive kcube"); what was left half made is removed.
Result<std::unique_ptr<PodRuntime>> open_runtime(const RuntimeOptions& options);

// Ends and removes everything that runs under these options, also what a killed kcube left: containers, pauses,
// monitors, networks, cgroups below `cgroup_root`, and both directories. No runtime may be open on them. For `kcube
// down`.
Result<void> reset_runtime(const RuntimeOptions& options);

}  // namespace kcube::runtime
