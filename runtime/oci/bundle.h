// Bundles: config.json and a root file system, translated to what the runtime runs. Private to oci/.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pkg/base/status.h"
#include "runtime/cgroups.h"
#include "runtime/pod_runtime.h"
#include "runtime/records.h"

namespace kcube::runtime::oci {

struct Hook {
  std::string path;
  std::vector<std::string> args, env;
  int timeout_seconds = 0;
};

struct Bundle {
  std::string directory;  // absolute
  ContainerRecord record;
  ResourceLimits limits;
  std::vector<DeviceRule> devices;
  int cgroup_mount = -1;
  std::string cgroup_parent;  // "linux.cgroupsPath"
  std::string hostname;
  uint64_t new_namespaces = 0;          // CLONE_NEWNET, CLONE_NEWUTS, CLONE_NEWIPC to make before anything runs
  std::vector<std::string> join_paths;  // namespaces to enter instead
  std::vector<std::pair<std::string, std::string>> sysctls;
  std::vector<Hook> create_hooks, poststart_hooks, poststop_hooks;
};

// 400 with the field's path for what is missing, malformed or impossible here.
Result<Bundle> read_bundle(const std::string& directory);
// A file with only the "process" object, for exec.
Result<protocol::Process> read_process(const std::string& path);
// Options of a mount whose type is in `source`: decides its kind, attributes and file system options.
Result<void> mount_options(const std::vector<std::string>& options, protocol::MountStep& step);

}  // namespace kcube::runtime::oci
