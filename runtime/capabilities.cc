#include "runtime/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

namespace kcube::runtime {
namespace {

// In the order of their numbers.
constexpr std::string_view kNames[] = {"CHOWN",
                                       "DAC_OVERRIDE",
                                       "DAC_READ_SEARCH",
                                       "FOWNER",
                                       "FSETID",
                                       "KILL",
                                       "SETGID",
                                       "SETUID",
                                       "SETPCAP",
                                       "LINUX_IMMUTABLE",
                                       "NET_BIND_SERVICE",
                                       "NET_BROADCAST",
                                       "NET_ADMIN",
                                       "NET_RAW",
                                       "IPC_LOCK",
                                       "IPC_OWNER",
                                       "SYS_MODULE",
                                       "SYS_RAWIO",
                                       "SYS_CHROOT",
                                       "SYS_PTRACE",
                                       "SYS_PACCT",
                                       "SYS_ADMIN",
                                       "SYS_BOOT",
                                       "SYS_NICE",
                                       "SYS_RESOURCE",
                                       "SYS_TIME",
                                       "SYS_TTY_CONFIG",
                                       "MKNOD",
                                       "LEASE",
                                       "AUDIT_WRITE",
                                       "AUDIT_CONTROL",
                                       "SETFCAP",
                                       "MAC_OVERRIDE",
                                       "MAC_ADMIN",
                                       "SYSLOG",
                                       "WAKE_ALARM",
                                       "BLOCK_SUSPEND",
                                       "AUDIT_READ",
                                       "PERFMON",
                                       "BPF",
                                       "CHECKPOINT_RESTORE"};

// What every container runtime grants by default; images are built for it.
constexpr CapabilitySet bit(int cap) { return CapabilitySet{1} << cap; }
constexpr CapabilitySet kDefault = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FSETID) | bit(CAP_FOWNER) |
                                   bit(CAP_MKNOD) | bit(CAP_NET_RAW) | bit(CAP_SETGID) | bit(CAP_SETUID) |
                                   bit(CAP_SETFCAP) | bit(CAP_SETPCAP) | bit(CAP_NET_BIND_SERVICE) |
                                   bit(CAP_SYS_CHROOT) | bit(CAP_KILL) | bit(CAP_AUDIT_WRITE);

std::string upper_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace

Result<CapabilitySet> capability(std::string_view name) {
  std::string upper = upper_case(name);
  if (upper == "ALL") return ~CapabilitySet{0};
  std::string_view bare = upper;
  if (bare.starts_with("CAP_")) bare.remove_prefix(4);
  auto it = std::ranges::find(kNames, bare);
  if (it == std::end(kNames)) return fail(Status::bad_request("unknown capability \"" + std::string(name) + "\""));
  return bit(static_cast<int>(it - std::begin(kNames)));
}

CapabilitySet own_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return 0;
  CapabilitySet permitted = data[0].permitted | CapabilitySet{data[1].permitted} << 32, bounding = 0;
  for (int cap = 0; cap < 64; ++cap)
    if (::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1) bounding |= bit(cap);
  return permitted & bounding;
}

Result<CapabilitySet> container_capabilities(const SecurityConfig& security) {
  CapabilitySet own = own_capabilities();
  if (security.privileged) return own;
  CapabilitySet set = kDefault, added = 0, dropped = 0;
  bool all_added = false, all_dropped = false;
  auto collect = [](const std::vector<std::string>& names, CapabilitySet& out, bool& all) -> Result<void> {
    for (const auto& name : names) {
      auto c = capability(name);
      if (!c) return fail(c.error());
      if (*c == ~CapabilitySet{0})
        all = true;
      else
        out |= *c;
    }
    return {};
  };
  if (auto r = collect(security.add_capabilities, added, all_added); !r) return fail(r.error());
  if (auto r = collect(security.drop_capabilities, dropped, all_dropped); !r) return fail(r.error());
  // "ALL" is the ground that single names are added to and taken from.
  if (all_added) set = ~CapabilitySet{0};
  if (all_dropped) set = 0;
  set = (set | added) & ~dropped;
  return set & own;
}

}  // namespace kcube::runtime
