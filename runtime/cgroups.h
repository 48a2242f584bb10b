// Cgroups: the groups of pods and containers, on a machine with cgroup v1, v2 or both ("hybrid").
//
// A group has one path ("/kcube/kubepods/pod<uid>/<container>") that is made below every hierarchy in use. On v1 those
// are the hierarchies of the controllers that kcube sets; a cgroup2 tree beside them, even one without controllers, is
// used for cgroup.kill and for being born into a group. Thread-safe: it only holds what detect() found.
// Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
#pragma once

#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"
#include "runtime/pod_runtime.h"
#include "runtime/protocol.h"

namespace kcube::runtime {

// What a container may do with device nodes. -1 is any number.
struct DeviceRule {
  char type = 'a';  // 'c', 'b' or 'a' for both
  int64_t major = -1, minor = -1;
  std::string access = "rwm";
};

class Cgroups {
 public:
  // From /proc/self/mountinfo: what is mounted there (below /sys/fs/cgroup first).
  static Result<Cgroups> detect();

  // True when the controllers live in the cgroup2 tree.
  bool unified() const { return v1_.empty(); }
  // Makes the group in every hierarchy and, on v2, hands the controllers down to it. An existing one is fine.
  Result<void> create(const std::string& path) const;
  Result<void> apply(const std::string& path, const ResourceLimits& limits) const;
  // Lets the group's processes use only these devices.
  Result<void> restrict_devices(const std::string& path, const std::vector<DeviceRule>& rules) const;
  // Opens what a new process needs to enter the group. Descriptors are appended to `fds`, the entry holds their
  // indexes.
  Result<protocol::CgroupEntry> entry(const std::string& path, std::vector<Fd>& fds) const;
  // The group in the cgroup2 tree, for CLONE_INTO_CGROUP; invalid where there is none.
  Fd open_unified(const std::string& path) const;
  // The group's directory in each hierarchy with the hierarchy's name, for mounting into a container; v2: {"",
  // directory}.
  std::vector<std::pair<std::string, std::string>> directories(const std::string& path) const;
  Result<ContainerStats> stats(const std::string& path) const;
  // SIGKILL to everything in the group and below.
  void kill(const std::string& path) const;
  // Kills what is left in the group and below, waits for its end, and removes the groups. A missing one is fine.
  Result<void> remove(const std::string& path) const;
  // Like remove, but leaves a group that has children or processes alone.
  void remove_if_empty(const std::string& path) const;

 private:
  struct Hierarchy {
    std::vector<std::string> controllers;
    std::string name;  // as mounted: "cpu,cpuacct"
    std::string mount_point;
    bool used = false;  // entered by every container
  };
  const Hierarchy* v1(std::string_view controller) const;
  Result<void> write(std::string_view controller, const std::string& path, const std::string& file,
                     const std::string& value) const;
  Result<void> apply_v1(const std::string& path, const ResourceLimits& limits) const;
  Result<void> apply_v2(const std::string& path, const ResourceLimits& limits) const;
  Result<void> create_v2(const std::string& path) const;
  Result<void> inherit_cpuset(const std::string& path) const;
  Result<void> use_cpuset(const std::string& path, const ResourceLimits& limits) const;
  std::vector<std::string> all_directories(const std::string& path) const;

  std::vector<Hierarchy> v1_;
  std::string v2_;  // mount point of the cgroup2 tree, or empty
};

// Allows the devices of `rules` to the members of the cgroup2 group `directory` by a BPF program, nothing else.
// (cgroup_devices_v2.cc)
Result<void> attach_device_program(const std::string& directory, const std::vector<DeviceRule>& rules);

}  // namespace kcube::runtime
