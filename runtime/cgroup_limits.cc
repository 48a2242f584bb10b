// Limits and figures of a group: one set of numbers, two spellings.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/cgroups.h"

namespace kcube::runtime {
namespace {

Result<void> put(const std::string& path, const std::string& value) {
  if (auto r = file::write(path, value); !r) return fail(r.error().with_context("set \"" + value + "\""));
  return {};
}

uint64_t number(const std::string& path) {
  auto text = file::read(path);
  if (!text) return 0;
  return parse_int<uint64_t>(trim(*text)).value_or(0);
}

// "key value" lines, as in memory.stat.
uint64_t keyed(const std::string& path, std::string_view key) {
  auto text = file::read(path);
  if (!text) return 0;
  for (auto line : split(*text, '\n')) {
    size_t space = line.find(' ');
    if (space != std::string_view::npos && line.substr(0, space) == key)
      return parse_int<uint64_t>(line.substr(space + 1)).value_or(0);
  }
  return 0;
}

// v1 shares 2…262144 to v2 weight 1…10000, by the formula of the kubelet's KEP-2254.
uint64_t weight_of(uint64_t shares) {
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + (shares - 2) * 9999 / 262142;
}

}  // namespace

Result<void> Cgroups::write(std::string_view controller, const std::string& path, const std::string& file,
                            const std::string& value) const {
  const Hierarchy* h = v1(controller);
  if (h == nullptr)
    return fail(Status::internal("no cgroup hierarchy has the " + std::string(controller) + " controller"));
  return put(h->mount_point + path + "/" + file, value);
}

Result<void> Cgroups::apply(const std::string& path, const ResourceLimits& limits) const {
  return unified() ? apply_v2(path, limits) : apply_v1(path, limits);
}

Result<void> Cgroups::use_cpuset(const std::string& path, const ResourceLimits& limits) const {
  const Hierarchy* h = v1("cpuset");
  if (h == nullptr) return fail(Status::internal("no cgroup hierarchy has the cpuset controller"));
  if (auto r = file::make_dirs(h->mount_point + path); !r) return r;
  if (auto r = inherit_cpuset(path); !r) return r;
  if (!limits.cpuset_cpus.empty())
    if (auto r = write("cpuset", path, "cpuset.cpus", limits.cpuset_cpus); !r) return r;
  if (!limits.cpuset_mems.empty()) return write("cpuset", path, "cpuset.mems", limits.cpuset_mems);
  return {};
}

Result<void> Cgroups::apply_v1(const std::string& path, const ResourceLimits& limits) const {
  if (limits.cpu_shares > 0)
    if (auto r = write("cpu", path, "cpu.shares", std::to_string(limits.cpu_shares)); !r) return r;
  if (limits.cpu_quota_us > 0) {
    // The pair is checked at each write: a longer period first, whatever it was before.
    if (auto r = write("cpu", path, "cpu.cfs_period_us", std::to_string(limits.cpu_period_us)); !r) return r;
    if (auto r = write("cpu", path, "cpu.cfs_quota_us", std::to_string(limits.cpu_quota_us)); !r) return r;
  } else if (limits.cpu_quota_us < 0) {
    if (auto r = write("cpu", path, "cpu.cfs_quota_us", "-1"); !r) return r;
  }
  if (limits.memory_limit_bytes != 0)
    if (auto r = write("memory", path, "memory.limit_in_bytes",
                       std::to_string(std::max<int64_t>(limits.memory_limit_bytes, -1)));
        !r)
      return r;
  if (limits.pids_limit != 0)
    if (auto r = write("pids", path, "pids.max", limits.pids_limit > 0 ? std::to_string(limits.pids_limit) : "max"); !r)
      return r;
  if (!limits.cpuset_cpus.empty() || !limits.cpuset_mems.empty()) return use_cpuset(path, limits);
  return {};
}

Result<void> Cgroups::apply_v2(const std::string& path, const ResourceLimits& limits) const {
  std::string base = v2_ + path + "/";
  if (limits.cpu_shares > 0)
    if (auto r = put(base + "cpu.weight", std::to_string(weight_of(limits.cpu_shares))); !r) return r;
  if (limits.cpu_quota_us != 0) {
    std::string quota = limits.cpu_quota_us > 0 ? std::to_string(limits.cpu_quota_us) : "max";
    if (auto r = put(base + "cpu.max", quota + " " + std::to_string(limits.cpu_period_us)); !r) return r;
  }
  if (limits.memory_limit_bytes != 0) {
    if (auto r =
            put(base + "memory.max", limits.memory_limit_bytes > 0 ? std::to_string(limits.memory_limit_bytes) : "max");
        !r)
      return r;
    // A container without half of its processes is of no use to anybody.
    (void)put(base + "memory.oom.group", "1");
  }
  if (limits.pids_limit != 0)
    if (auto r = put(base + "pids.max", limits.pids_limit > 0 ? std::to_string(limits.pids_limit) : "max"); !r)
      return r;
  if (!limits.cpuset_cpus.empty())
    if (auto r = put(base + "cpuset.cpus", limits.cpuset_cpus); !r) return r;
  if (!limits.cpuset_mems.empty())
    if (auto r = put(base + "cpuset.mems", limits.cpuset_mems); !r) return r;
  for (const auto& [name, value] : limits.unified) {
    if (name.find('/') != std::string::npos)
      return fail(Status::bad_request("cgroup file \"" + name + "\" must not contain a slash"));
    if (auto r = put(base + name, value); !r) return r;
  }
  return {};
}

Result<void> Cgroups::restrict_devices(const std::string& path, const std::vector<DeviceRule>& rules) const {
  if (unified()) return attach_device_program(v2_ + path, rules);
  auto part = [](int64_t n) { return n < 0 ? std::string("*") : std::to_string(n); };
  if (auto r = write("devices", path, "devices.deny", "a"); !r) return r;
  for (const auto& rule : rules) {
    std::string text = std::string(1, rule.type) + " " + part(rule.major) + ":" + part(rule.minor) + " " + rule.access;
    if (auto r = write("devices", path, "devices.allow", text); !r) return r;
  }
  return {};
}

Result<ContainerStats> Cgroups::stats(const std::string& path) const {
  ContainerStats out;
  if (unified()) {
    std::string base = v2_ + path + "/";
    if (!file::exists(base)) return fail(Status::not_found("no cgroup " + path));
    out.cpu_usage_ns = keyed(base + "cpu.stat", "usage_usec") * 1000;
    out.memory_usage_bytes = number(base + "memory.current");
    uint64_t inactive = keyed(base + "memory.stat", "inactive_file");
    out.memory_working_set_bytes = out.memory_usage_bytes > inactive ? out.memory_usage_bytes - inactive : 0;
    out.memory_rss_bytes = keyed(base + "memory.stat", "anon");
    out.pids = number(base + "pids.current");
    return out;
  }
  if (auto h = v1("cpuacct")) out.cpu_usage_ns = number(h->mount_point + path + "/cpuacct.usage");
  if (auto h = v1("pids")) out.pids = number(h->mount_point + path + "/pids.current");
  if (auto h = v1("memory")) {
    std::string base = h->mount_point + path + "/";
    if (!file::exists(base)) return fail(Status::not_found("no cgroup " + path));
    out.memory_usage_bytes = number(base + "memory.usage_in_bytes");
    uint64_t inactive = keyed(base + "memory.stat", "total_inactive_file");
    out.memory_working_set_bytes = out.memory_usage_bytes > inactive ? out.memory_usage_bytes - inactive : 0;
    out.memory_rss_bytes = keyed(base + "memory.stat", "total_rss");
  }
  return out;
}

}  // namespace kcube::runtime
