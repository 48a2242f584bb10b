// A container's mounts: the usual ones, the pod's own files, then the configured ones from the shallowest to the
// deepest.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "pkg/base/file.h"
#include "runtime/container_spec.h"

namespace kcube::runtime {
namespace {

using Step = protocol::MountStep;

constexpr uint64_t kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

Step filesystem(const char* type, const char* target, const char* options, uint64_t attributes) {
  Step step;
  step.kind = Step::Kind::filesystem;
  step.source = type;
  step.target = target;
  step.options = options;
  step.attributes = attributes;
  return step;
}

Step bind_mount(std::string source, std::string target, uint64_t attributes) {
  Step step;
  step.kind = Step::Kind::bind;
  step.source = std::move(source);
  step.target = std::move(target);
  step.attributes = attributes;
  step.propagation = MS_PRIVATE;
  return step;
}

void add_shm(const SpecInputs& in, std::vector<Step>& out) {
  if (in.sandbox.ipc != NamespaceMode::pod) {
    out.push_back(bind_mount("/dev/shm", "/dev/shm", kSafe));
    out.back().optional = true;
    return;
  }
  Step step;
  step.kind = Step::Kind::pod_shm;
  step.target = "/dev/shm";
  out.push_back(std::move(step));
}

// The container's own groups, as if they were the roots.
void add_cgroups(const SpecInputs& in, ContainerRecord& record, std::vector<Step>& out) {
  uint64_t attributes = kSafe | (in.config.security.privileged ? 0 : MOUNT_ATTR_RDONLY);
  auto directories = in.config.security.privileged ? in.cgroups.directories("") : in.cgroups.directories(record.cgroup);
  if (in.cgroups.unified()) {
    out.push_back(bind_mount(directories[0].second, "/sys/fs/cgroup", attributes));
    return;
  }
  out.push_back(filesystem("tmpfs", "/sys/fs/cgroup", "mode=755,size=64k", kSafe));
  for (const auto& [name, directory] : directories) {
    out.push_back(bind_mount(directory, "/sys/fs/cgroup/" + name, attributes));
    // Controllers that share a hierarchy are found by each of their names.
    if (name.find(',') == std::string::npos) continue;
    for (size_t at = 0; at <= name.size();) {
      size_t end = std::min(name.find(',', at), name.size());
      record.spec.links.push_back({"/sys/fs/cgroup/" + name.substr(at, end - at), name});
      at = end + 1;
    }
  }
}

std::vector<Step> default_mounts(const SpecInputs& in, ContainerRecord& record) {
  uint64_t sys = kSafe | (in.config.security.privileged ? 0 : MOUNT_ATTR_RDONLY);
  std::vector<Step> out = {
      filesystem("proc", "/proc", "", kSafe),
      filesystem("tmpfs", "/dev", "mode=755,size=65536k", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME),
      filesystem("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5",
                 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
      filesystem("mqueue", "/dev/mqueue", "", kSafe),
      filesystem("sysfs", "/sys", "", sys),
  };
  add_shm(in, out);
  add_cgroups(in, record, out);
  uint64_t readonly = in.config.security.readonly_rootfs ? MOUNT_ATTR_RDONLY : 0;
  for (const char* name : {"hosts", "hostname", "resolv.conf"}) {
    out.push_back(bind_mount(in.sandbox_dir + "/" + name, std::string("/etc/") + name, readonly));
    if (in.sandbox.user_namespace_start != 0) out.back().idmapped = Step::IdMapped::if_possible;
  }
  return out;
}

// Without doubled and trailing slashes, so that paths can be compared.
std::string normal(const std::string& path) {
  std::string out = "/";
  for (char c : path)
    if (c != '/' || out.back() != '/') out += c;
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

uint64_t propagation_of(Propagation propagation) {
  switch (propagation) {
    case Propagation::host_to_container: return MS_SLAVE;
    case Propagation::bidirectional: return MS_SHARED;
    case Propagation::private_: break;
  }
  return MS_PRIVATE;
}

Result<void> add_image_volume(const SpecInputs& in, const Mount& mount, ContainerRecord& record, Step& step) {
  auto layers = in.options.images->lease_layers(mount.image, volume_lease(record.id, record.volumes.size()));
  if (!layers) return fail(layers.error().with_context("image volume at " + mount.container_path));
  step.kind = Step::Kind::descriptor;
  step.attributes = MOUNT_ATTR_RDONLY;
  record.volumes.push_back({0, std::move(*layers), mount.image_sub_path});
  return {};
}

}  // namespace

Result<void> add_mounts(const SpecInputs& in, ContainerRecord& record) {
  std::vector<Mount> configured = in.config.mounts;
  for (auto& mount : configured) mount.container_path = normal(mount.container_path);
  std::ranges::stable_sort(configured, {}, [](const Mount& m) { return std::ranges::count(m.container_path, '/'); });
  auto replaced = [&](const std::string& target) {
    return std::ranges::any_of(configured, [&](const Mount& m) { return m.container_path == target; });
  };
  auto& out = record.spec.mounts;
  for (auto& step : default_mounts(in, record))
    if (!replaced(step.target)) out.push_back(std::move(step));
  for (const auto& mount : configured) {
    if (mount.container_path == "/")
      return fail(Status::bad_request("a mount at / would hide the container's root file system"));
    Step step = bind_mount(mount.host_path, mount.container_path, mount.readonly ? MOUNT_ATTR_RDONLY : 0);
    step.propagation = propagation_of(mount.propagation);
    step.recursive_attributes = mount.readonly && mount.recursive_readonly;
    if (in.sandbox.user_namespace_start != 0 && mount.image.empty()) step.idmapped = Step::IdMapped::required;
    if (!mount.image.empty()) {
      if (auto r = add_image_volume(in, mount, record, step); !r) return r;
      record.volumes.back().mount = static_cast<uint32_t>(out.size());
    } else if (!file::exists(mount.host_path)) {
      if (auto r = file::make_dirs(mount.host_path); !r)
        return fail(r.error().with_context("mount at " + mount.container_path));
    }
    out.push_back(std::move(step));
  }
  return {};
}

}  // namespace kcube::runtime
