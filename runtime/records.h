// Records: what kcube writes down about sandboxes and containers, so that the next kcube finds them.
//
// Layout below RuntimeOptions::state_dir:
//   <sandbox id>/record          SandboxRecord, rewritten when it is ready and when it is stopped
//   <sandbox id>/monitor.sock    the monitor's listening socket
//   <sandbox id>/{hosts,hostname,resolv.conf}   mounted into the containers
//   <sandbox id>/root/           empty: where containers' roots are attached, each in its own mount namespace
//   <sandbox id>/containers/<container id>/record, and `exit` by the monitor
// A record is a line "kcube <kind> <version>\n" and the fields in the protocol's encoding.
#pragma once

#include <string>
#include <vector>

#include "pkg/base/status.h"
#include "runtime/pod_runtime.h"
#include "runtime/protocol.h"

namespace kcube::runtime {

struct Pair {
  std::string key, value;
  template <typename A>
  void fields(A& a) {
    a(key, value);
  }
};
std::vector<Pair> to_pairs(const Labels& labels);
Labels to_labels(const std::vector<Pair>& pairs);

int64_t to_ns(SystemTime time);
SystemTime from_ns(int64_t ns);

struct SandboxRecord {
  std::string id, name, namespace_, uid;
  uint32_t attempt = 0;
  uint8_t ready = 0;  // 0: half made, 1: ready, 2: stopped
  int64_t created_at_ns = 0;
  std::vector<std::string> ips;
  int32_t pause_pid = 0;
  std::string hostname, log_directory, cgroup_parent;
  NamespaceMode network = NamespaceMode::pod, pid = NamespaceMode::container, ipc = NamespaceMode::pod;
  uint32_t user_namespace_start = 0;
  std::vector<Pair> labels, annotations;
  // The user namespace's ids for the monitor.
  protocol::IdRange ids() const { return {user_namespace_start, user_namespace_start == 0 ? 0 : kUserNamespaceIds}; }
  template <typename A>
  void fields(A& a) {
    a(id, name, namespace_, uid, attempt, ready, created_at_ns, ips, pause_pid, hostname, log_directory, cgroup_parent,
      network, pid, ipc, user_namespace_start, labels, annotations);
  }
};

// An image volume: layers that are stacked read-only and mounted by the step at `mount`.
struct VolumeRecord {
  uint32_t mount = 0;
  std::vector<std::string> layers;
  std::string sub_path;
  template <typename A>
  void fields(A& a) {
    a(mount, layers, sub_path);
  }
};

struct ContainerRecord {
  std::string id, sandbox_id, name;
  uint32_t attempt = 0;
  std::string image_id, image_name, log_path;
  int64_t created_at_ns = 0;
  int32_t stop_signal = 15;
  std::vector<Pair> labels, annotations;
  std::vector<std::string> layers;  // of the root, lowest first
  std::string root_directory;       // instead of layers: the root of an OCI bundle
  std::vector<VolumeRecord> volumes;
  std::string cgroup;
  uint64_t exec_join_flags = 0;
  std::string start_error;        // why start_container failed
  protocol::StartContainer spec;  // without descriptors
  template <typename A>
  void fields(A& a) {
    a(id, sandbox_id, name, attempt, image_id, image_name, log_path, created_at_ns, stop_signal, labels, annotations,
      layers, root_directory, volumes, cgroup, exec_join_flags, start_error, spec);
  }
};

Result<void> write_record(const std::string& path, const SandboxRecord& record);
Result<void> write_record(const std::string& path, const ContainerRecord& record);
Result<SandboxRecord> read_sandbox_record(const std::string& path);
Result<ContainerRecord> read_container_record(const std::string& path);
// What the monitor wrote at a container's end; 404 when it has not.
Result<protocol::Exited> read_exit(const std::string& path);

}  // namespace kcube::runtime
