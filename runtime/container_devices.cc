// A container's devices: the harmless ones everybody has, the configured ones, or all of the host's.
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <set>

#include "pkg/base/file.h"
#include "runtime/container_spec.h"

namespace kcube::runtime {
namespace {

struct Standard {
  const char* path;
  unsigned major, minor;
};
constexpr Standard kStandard[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                                  {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};

protocol::DeviceNode node_of(std::string path, std::string host, const struct stat& info) {
  return {std::move(path), std::move(host), info.st_mode, info.st_rdev, info.st_uid, info.st_gid};
}

bool is_device(const struct stat& info) { return S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode); }

// Every device below a directory; consoles and pseudo terminals belong to whoever opened them.
void collect(const std::string& host, const std::string& container, int depth, std::vector<protocol::DeviceNode>& out) {
  auto names = file::list(host);
  if (!names || depth > 8) return;
  for (const auto& name : *names) {
    if (depth == 0 &&
        (name == "pts" || name == "shm" || name == "fd" || name == "mqueue" || name == "console" || name == "ptmx"))
      continue;
    struct stat info;
    if (::lstat((host + "/" + name).c_str(), &info) != 0) continue;
    if (S_ISDIR(info.st_mode)) collect(host + "/" + name, container + "/" + name, depth + 1, out);
    if (is_device(info)) out.push_back(node_of(container + "/" + name, host + "/" + name, info));
  }
}

Result<std::vector<protocol::DeviceNode>> configured(const Device& device) {
  std::vector<protocol::DeviceNode> out;
  std::string target = device.container_path.empty() ? device.host_path : device.container_path;
  struct stat info;
  if (::stat(device.host_path.c_str(), &info) != 0) return fail(Status::from_errno("device " + device.host_path));
  if (is_device(info))
    out.push_back(node_of(target, device.host_path, info));
  else if (S_ISDIR(info.st_mode))
    collect(device.host_path, target, 1, out);
  else
    return fail(Status::bad_request(device.host_path + " is not a device"));
  return out;
}

}  // namespace

Result<void> add_devices(const ContainerConfig& config, protocol::StartContainer& spec) {
  std::set<std::string> seen;
  auto add = [&](protocol::DeviceNode node) {
    if (seen.insert(node.path).second) spec.devices.push_back(std::move(node));
  };
  for (const auto& device : config.devices) {
    auto nodes = configured(device);
    if (!nodes) return fail(nodes.error());
    for (auto& node : *nodes) add(std::move(node));
  }
  for (const auto& d : kStandard) add({d.path, d.path, S_IFCHR | 0666, makedev(d.major, d.minor), 0, 0});
  if (config.security.privileged) {
    std::vector<protocol::DeviceNode> all;
    collect("/dev", "/dev", 0, all);
    for (auto& node : all) add(std::move(node));
  }
  for (const auto& [path, target] :
       std::initializer_list<std::pair<const char*, const char*>>{{"/dev/fd", "/proc/self/fd"},
                                                                  {"/dev/stdin", "/proc/self/fd/0"},
                                                                  {"/dev/stdout", "/proc/self/fd/1"},
                                                                  {"/dev/stderr", "/proc/self/fd/2"},
                                                                  {"/dev/ptmx", "pts/ptmx"}})
    spec.links.push_back({path, target});
  return {};
}

void mount_devices(protocol::StartContainer& spec) {
  for (auto& device : spec.devices) {
    protocol::MountStep step;
    step.source = std::move(device.host_path);
    step.target = std::move(device.path);
    step.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    step.propagation = MS_PRIVATE;
    spec.mounts.push_back(std::move(step));
  }
  spec.devices.clear();
}

Result<std::vector<DeviceRule>> device_rules(const ContainerConfig& config) {
  std::vector<DeviceRule> out;
  if (config.security.privileged) return std::vector<DeviceRule>{{}};
  // Nodes of any kind may be made, as archives have them; using them is another matter.
  out.push_back({'c', -1, -1, "m"});
  out.push_back({'b', -1, -1, "m"});
  for (const auto& d : kStandard) out.push_back({'c', d.major, d.minor, "rwm"});
  out.push_back({'c', 5, 1, "rwm"});     // /dev/console
  out.push_back({'c', 5, 2, "rwm"});     // /dev/ptmx
  out.push_back({'c', 136, -1, "rwm"});  // /dev/pts/*
  for (const auto& device : config.devices) {
    auto nodes = configured(device);
    if (!nodes) return fail(nodes.error());
    std::string access = device.permissions.empty() ? "rwm" : device.permissions;
    for (const auto& node : *nodes)
      out.push_back({S_ISCHR(node.mode) ? 'c' : 'b', major(node.rdev), minor(node.rdev), access});
  }
  return out;
}

}  // namespace kcube::runtime
