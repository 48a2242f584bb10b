#include "runtime/cgroups.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "pkg/base/file.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"

namespace kcube::runtime {
namespace {

// Hierarchies without a limit that kcube sets are not entered: each costs a write for every process.
constexpr std::string_view kUsed[] = {"cpu", "cpuacct", "memory", "pids", "devices"};
constexpr std::string_view kWanted[] = {"cpuset", "cpu", "io", "memory", "pids", "hugetlb"};

// One write(2): the kernel takes a value whole.
Result<void> put(const std::string& path, std::string_view value) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), value.data(), value.size()) < 0)
    return fail(Status::from_errno("write \"" + std::string(trim(value)) + "\" to " + path));
  return {};
}

std::vector<pid_t> members(const std::string& directory) {
  std::vector<pid_t> out;
  auto text = file::read(directory + "/cgroup.procs");
  if (!text) return out;
  for (auto line : split(*text, '\n'))
    if (auto pid = parse_int<pid_t>(line); pid && *pid > 0) out.push_back(*pid);
  return out;
}

std::vector<std::string> children(const std::string& directory) {
  std::vector<std::string> out;
  auto names = file::list(directory);
  if (!names) return out;
  for (const auto& name : *names)
    if (file::is_directory(directory + "/" + name)) out.push_back(directory + "/" + name);
  return out;
}

// A number may be another's by the time it is used: it counts when it is still a member's once its process is held.
void kill_below(const std::string& directory, std::vector<Fd>* dying) {
  for (const auto& child : children(directory)) kill_below(child, dying);
  std::map<pid_t, Fd> held;
  for (pid_t pid : members(directory))
    if (auto pidfd = process::open_pid(pid)) held.emplace(pid, std::move(*pidfd));
  for (pid_t pid : members(directory)) {
    auto it = held.find(pid);
    if (it == held.end()) continue;
    (void)process::send_signal(it->second, SIGKILL);
    if (dying) dying->push_back(std::move(it->second));
  }
}

void await(const std::vector<Fd>& dying) {
  for (const Fd& fd : dying) {
    pollfd p{fd.get(), POLLIN, 0};
    ::poll(&p, 1, 10000);
  }
}

int remove_below(const std::string& directory) {
  for (const auto& child : children(directory)) remove_below(child);
  return ::rmdir(directory.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

}  // namespace

Result<Cgroups> Cgroups::detect() {
  auto text = file::read("/proc/self/mountinfo");
  if (!text) return fail(text.error());
  Cgroups out;
  for (auto line : split(*text, '\n')) {
    size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    auto left = split(line.substr(0, dash), ' ');
    auto right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    std::string mount_point(left[4]);
    if (right[0] == "cgroup2" && out.v2_.empty()) out.v2_ = mount_point;
    if (right[0] != "cgroup") continue;
    Hierarchy h;
    h.mount_point = mount_point;
    h.name = mount_point.substr(mount_point.rfind('/') + 1);
    for (auto option : split(right[2], ',')) {
      h.controllers.emplace_back(option);
      h.used |= std::ranges::find(kUsed, option) != std::end(kUsed);
    }
    bool known =
        std::ranges::any_of(out.v1_, [&](const Hierarchy& other) { return other.controllers == h.controllers; });
    if (!known && (h.used || std::ranges::find(h.controllers, "cpuset") != h.controllers.end()))
      out.v1_.push_back(std::move(h));
  }
  if (out.v1_.empty() && out.v2_.empty())
    return fail(Status::internal("no cgroup hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup"));
  return out;
}

const Cgroups::Hierarchy* Cgroups::v1(std::string_view controller) const {
  for (const auto& h : v1_)
    if (std::ranges::find(h.controllers, controller) != h.controllers.end()) return &h;
  return nullptr;
}

std::vector<std::string> Cgroups::all_directories(const std::string& path) const {
  std::vector<std::string> out;
  for (const auto& h : v1_) out.push_back(h.mount_point + path);
  if (!v2_.empty()) out.push_back(v2_ + path);
  return out;
}

Result<void> Cgroups::create(const std::string& path) const {
  for (const auto& h : v1_) {
    if (!h.used) continue;
    if (auto r = file::make_dirs(h.mount_point + path); !r) return r;
  }
  if (!v1_.empty()) {
    if (auto h = v1("cpuset"); h && h->used)
      if (auto r = inherit_cpuset(path); !r) return r;
    if (!v2_.empty()) return file::make_dirs(v2_ + path);
    return {};
  }
  return create_v2(path);
}

// A controller reaches a group when each group above lists it in cgroup.subtree_control.
Result<void> Cgroups::create_v2(const std::string& path) const {
  auto available = file::read(v2_ + "/cgroup.controllers");
  if (!available) return fail(available.error());
  std::vector<std::string> wanted;
  for (auto controller : split(trim(*available), ' '))
    if (std::ranges::find(kWanted, controller) != std::end(kWanted)) wanted.emplace_back(controller);
  std::string directory = v2_;
  for (auto part : split(path, '/')) {
    if (part.empty()) continue;
    auto enabled = file::read(directory + "/cgroup.subtree_control");
    auto has = [&](const std::string& c) {
      return enabled && (" " + std::string(trim(*enabled)) + " ").find(" " + c + " ") != std::string::npos;
    };
    for (const auto& controller : wanted) {
      if (has(controller)) continue;
      auto done = put(directory + "/cgroup.subtree_control", "+" + controller);
      if (!done && done.error().os_error() == EBUSY && directory == v2_) {
        // We are in a container whose root group has processes of its own: they move aside, as the kernel demands.
        if (auto r = file::make_dirs(v2_ + "/init"); !r) return r;
        for (pid_t pid : members(v2_)) (void)put(v2_ + "/init/cgroup.procs", std::to_string(pid));
        done = put(directory + "/cgroup.subtree_control", "+" + controller);
      }
      if (!done && done.error().os_error() != ENOENT) return done;
    }
    directory += "/" + std::string(part);
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST)
      return fail(Status::from_errno("make the cgroup " + directory));
  }
  return {};
}

// A v1 cpuset starts empty, and nothing may enter it until it has processors and memory nodes.
Result<void> Cgroups::inherit_cpuset(const std::string& path) const {
  const Hierarchy* h = v1("cpuset");
  std::string directory = h->mount_point;
  for (auto part : split(path, '/')) {
    if (part.empty()) continue;
    std::string child = directory + "/" + std::string(part);
    for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
      auto own = file::read(child + file);
      if (own && !trim(*own).empty()) continue;
      auto above = file::read(directory + file);
      if (!above) return fail(above.error());
      if (auto r = put(child + file, *above); !r) return r;
    }
    directory = child;
  }
  return {};
}

Result<protocol::CgroupEntry> Cgroups::entry(const std::string& path, std::vector<Fd>& fds) const {
  protocol::CgroupEntry out;
  auto add = [&](const std::string& file, int flags) -> int32_t {
    Fd fd(::open(file.c_str(), flags | O_CLOEXEC));
    if (!fd.valid()) return -1;
    fds.push_back(std::move(fd));
    return static_cast<int32_t>(fds.size()) - 1;
  };
  for (const auto& h : v1_) {
    // A cpuset is only there for containers that have one.
    std::string procs = h.mount_point + path + "/cgroup.procs";
    if (!h.used && !file::exists(procs)) continue;
    int32_t index = add(procs, O_WRONLY);
    if (index < 0) return fail(Status::from_errno("open " + procs));
    out.procs.push_back(index);
  }
  if (!v2_.empty()) {
    out.directory = add(v2_ + path, O_PATH | O_DIRECTORY);
    if (out.directory < 0) return fail(Status::from_errno("open " + v2_ + path));
    out.kill = add(v2_ + path + "/cgroup.kill", O_WRONLY);
  }
  if (unified())
    out.oom = add(v2_ + path + "/memory.events", O_RDONLY);
  else if (auto h = v1("memory"))
    out.oom = add(h->mount_point + path + "/memory.oom_control", O_RDONLY);
  return out;
}

std::vector<std::pair<std::string, std::string>> Cgroups::directories(const std::string& path) const {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& h : v1_)
    if (h.used) out.emplace_back(h.name, h.mount_point + path);
  if (v1_.empty()) out.emplace_back("", v2_ + path);
  return out;
}

Fd Cgroups::open_unified(const std::string& path) const {
  return v2_.empty() ? Fd() : Fd(::open((v2_ + path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

void Cgroups::kill(const std::string& path) const {
  if (path.size() < 2) return;   // everything there is: a record without a group is no reason
  if (!v2_.empty() && put(v2_ + path + "/cgroup.kill", "1")) return;
  for (const auto& directory : all_directories(path)) kill_below(directory, nullptr);
}

Result<void> Cgroups::remove(const std::string& path) const {
  if (path.size() < 2) return {};
  if (!v2_.empty()) (void)put(v2_ + path + "/cgroup.kill", "1");
  // A group can be removed once its last process has been reaped, which is another's work and may take a moment.
  int error = 0;
  for (const auto& directory : all_directories(path)) {
    for (int attempt = 0; attempt < 200; ++attempt) {
      error = remove_below(directory);
      if (error != EBUSY) break;
      std::vector<Fd> dying;
      kill_below(directory, &dying);
      await(dying);
      if (dying.empty()) ::usleep(5000);  // only zombies are left; cgroup v1 has no event for their end
    }
    if (error != 0) return fail(Status::from_errno("remove the cgroup " + directory, error));
  }
  return {};
}

void Cgroups::remove_if_empty(const std::string& path) const {
  for (const auto& directory : all_directories(path)) ::rmdir(directory.c_str());
}

}  // namespace kcube::runtime
