// mount(8) options of a bundle's mounts, as flags of the new mount API. Source: runtime-spec config.md, "Linux mount
// options".
#include <sys/mount.h>

#include <map>

#include "runtime/oci/bundle.h"

namespace kcube::runtime::oci {
namespace {

struct Flag {
  uint64_t set = 0, clear = 0, propagation = 0;
  bool bind = false, recursive = false;
};

const std::map<std::string_view, Flag>& flags() {
  static const std::map<std::string_view, Flag> table = {
      {"ro", {MOUNT_ATTR_RDONLY}},
      {"rw", {0, MOUNT_ATTR_RDONLY}},
      {"nosuid", {MOUNT_ATTR_NOSUID}},
      {"suid", {0, MOUNT_ATTR_NOSUID}},
      {"nodev", {MOUNT_ATTR_NODEV}},
      {"dev", {0, MOUNT_ATTR_NODEV}},
      {"noexec", {MOUNT_ATTR_NOEXEC}},
      {"exec", {0, MOUNT_ATTR_NOEXEC}},
      {"noatime", {MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME}},
      {"strictatime", {MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME}},
      {"relatime", {0, MOUNT_ATTR__ATIME}},
      {"nodiratime", {MOUNT_ATTR_NODIRATIME}},
      {"diratime", {0, MOUNT_ATTR_NODIRATIME}},
      {"rro", {MOUNT_ATTR_RDONLY, 0, 0, false, true}},
      {"rnosuid", {MOUNT_ATTR_NOSUID, 0, 0, false, true}},
      {"rnodev", {MOUNT_ATTR_NODEV, 0, 0, false, true}},
      {"rnoexec", {MOUNT_ATTR_NOEXEC, 0, 0, false, true}},
      {"bind", {0, 0, 0, true}},
      {"rbind", {0, 0, 0, true}},
      {"private", {0, 0, MS_PRIVATE}},
      {"rprivate", {0, 0, MS_PRIVATE}},
      {"slave", {0, 0, MS_SLAVE}},
      {"rslave", {0, 0, MS_SLAVE}},
      {"shared", {0, 0, MS_SHARED}},
      {"rshared", {0, 0, MS_SHARED}},
      {"unbindable", {0, 0, MS_UNBINDABLE}},
      {"runbindable", {0, 0, MS_UNBINDABLE}},
      {"defaults", {}},
      {"async", {}},
      {"tmpcopyup", {}},
  };
  return table;
}

}  // namespace

Result<void> mount_options(const std::vector<std::string>& options, protocol::MountStep& step) {
  bool bind = step.source == "bind";
  for (const auto& option : options) {
    auto it = flags().find(option);
    if (it == flags().end()) {
      step.options += (step.options.empty() ? "" : ",") + option;
      continue;
    }
    const Flag& flag = it->second;
    step.attributes = (step.attributes & ~flag.clear) | flag.set;
    if (flag.propagation != 0) step.propagation = flag.propagation;
    step.recursive_attributes |= flag.recursive;
    bind |= flag.bind;
  }
  step.kind = bind ? protocol::MountStep::Kind::bind : protocol::MountStep::Kind::filesystem;
  return {};
}

}  // namespace kcube::runtime::oci
