// What a container's configuration means to the kernel: the translation from ContainerConfig to
// protocol::StartContainer.
#pragma once

#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "runtime/cgroups.h"
#include "runtime/image_store.h"
#include "runtime/pod_runtime.h"
#include "runtime/records.h"

namespace kcube::runtime {

struct SpecInputs {
  const SandboxRecord& sandbox;
  const ContainerConfig& config;
  const ImageConfig& image;
  const Fd& root;  // the container's root file system
  const Cgroups& cgroups;
  const RuntimeOptions& options;
  std::string sandbox_dir;  // the sandbox's state directory
};

// Fills `record`, whose id and cgroup are set, except for its layers; leases the layers of image volumes as
// volume_lease(). Fails with 400 for what the configuration or the image lacks.
Result<void> fill_spec(const SpecInputs& inputs, ContainerRecord& record);
// The devices the container may use.
Result<std::vector<DeviceRule>> device_rules(const ContainerConfig& config);
std::string volume_lease(const std::string& container_id, size_t index);

// --- Steps, in files of their own
// -------------------------------------------------------------------------------------

// container_process.cc: argv, environment, user, capabilities, seccomp.
Result<protocol::Process> make_process(const SpecInputs& inputs);
// "SIGQUIT", "QUIT", "3" or "SIGRTMIN+1"; 0 when it is none.
int parse_signal(std::string_view text);
// container_mounts.cc
Result<void> add_mounts(const SpecInputs& inputs, ContainerRecord& record);
// container_devices.cc
Result<void> add_devices(const ContainerConfig& config, protocol::StartContainer& spec);
// In a user namespace nodes cannot be made: the host's are mounted instead.
void mount_devices(protocol::StartContainer& spec);

}  // namespace kcube::runtime
