// The last steps before exec: limits, working directory, identity, capabilities, seccomp, and finding the program.
// The order is that of the OCI runtime specification's reference: the seccomp filter goes in last where it can.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/monitor/child.h"

namespace kcube::monitor {

using runtime::protocol::Process;

namespace {

void apply_limits(const Process& process, const Channel& channel) {
  for (const auto& limit : process.rlimits) {
    rlimit value{limit.soft, limit.hard};
    if (::setrlimit(static_cast<__rlimit_resource_t>(limit.resource), &value) == 0) continue;
    if (errno != EPERM) channel.fail("set resource limit " + std::to_string(limit.resource), errno);
    channel.send(Report::warning,
                 "resource limit " + std::to_string(limit.resource) + " refused: " + ::strerror(errno));
  }
}

void make_dirs(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    ::mkdir(path.substr(0, at).c_str(), 0755);
  ::mkdir(path.c_str(), 0755);
}

// As root first; a directory that only the user may enter (NFS, FUSE) is tried again as the user.
bool enter_directory(const Process& process, const Channel& channel, bool last_try) {
  const char* path = process.cwd.empty() ? "/" : process.cwd.c_str();
  if (::chdir(path) == 0) return true;
  if (errno == ENOENT && !last_try) {
    make_dirs(path);
    if (::chdir(path) == 0) return true;
  }
  if (last_try || (errno != EACCES && errno != EPERM))
    channel.fail("chdir to the working directory \"" + process.cwd + "\"", errno);
  return false;
}

void install_seccomp(const Process& process, const Channel& channel) {
  if (process.seccomp.empty()) return;
  sock_fprog program{};
  program.len = static_cast<unsigned short>(process.seccomp.size() / sizeof(sock_filter));
  program.filter = reinterpret_cast<sock_filter*>(const_cast<char*>(process.seccomp.data()));
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, process.seccomp_flags, &program) != 0)
    channel.fail("install the seccomp filter", errno);
}

void set_capabilities(const Process& process, const Channel& channel) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {
      {static_cast<uint32_t>(process.effective), static_cast<uint32_t>(process.permitted),
       static_cast<uint32_t>(process.inheritable)},
      {static_cast<uint32_t>(process.effective >> 32), static_cast<uint32_t>(process.permitted >> 32),
       static_cast<uint32_t>(process.inheritable >> 32)}};
  if (::syscall(SYS_capset, &header, data) != 0) channel.fail("set the capabilities", errno);
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int cap = 0; cap < 64; ++cap)
    if ((process.ambient >> cap) & 1) ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

void set_identity(const Process& process, const Channel& channel) {
  ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
  for (int cap = 0; ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; ++cap)
    if (((process.bounding >> cap) & 1) == 0 && ::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
      channel.fail("drop capability " + std::to_string(cap), errno);
  if (::syscall(SYS_setgroups, process.groups.size(), process.groups.data()) != 0)
    channel.fail("set the supplemental groups", errno);
  if (::syscall(SYS_setresgid, process.gid, process.gid, process.gid) != 0)
    channel.fail("set gid " + std::to_string(process.gid), errno);
  if (::syscall(SYS_setresuid, process.uid, process.uid, process.uid) != 0)
    channel.fail("set uid " + std::to_string(process.uid), errno);
  ::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
  // A change of identity forgets the death signal.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  set_capabilities(process, channel);
}

std::string environment(const Process& process, std::string_view name) {
  std::string value;
  for (const auto& entry : process.env)
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      value = entry.substr(name.size() + 1);
  return value;
}

// 0, or why `path` cannot be run.
int runnable(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return errno;
  if (S_ISDIR(info.st_mode)) return EISDIR;
  return ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

std::string lower_error(int error) {
  std::string text = ::strerror(error);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + 32);
  return text;
}

// The words are those users know from other runtimes, and search for.
std::string find_program(const Process& process, const Channel& channel) {
  std::string name = process.argv.empty() ? "" : process.argv[0];
  std::string quoted = "exec: \"" + name + "\": ";
  if (name.find('/') != std::string::npos) {
    int error = runnable(name);
    if (error == ENOENT || error == ENOTDIR) channel.fail_program(quoted + "stat " + name + ": " + lower_error(error));
    if (error != 0) channel.fail_program(quoted + lower_error(error));
    return name;
  }
  std::string path = environment(process, "PATH");
  for (size_t at = 0; !name.empty() && at <= path.size();) {
    size_t end = path.find(':', at);
    if (end == std::string::npos) end = path.size();
    std::string directory = path.substr(at, end - at);
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (runnable(candidate) == 0) return candidate;
    at = end + 1;
  }
  channel.fail_program(quoted + "executable file not found in $PATH");
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (const auto& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

void use_stdio(int in, int out, int err, uint32_t uid, const Channel& channel) {
  // Moved out of the way first, so that no dup2 overwrites one that is still needed.
  int high[3] = {::fcntl(in, F_DUPFD_CLOEXEC, 3), ::fcntl(out, F_DUPFD_CLOEXEC, 3), ::fcntl(err, F_DUPFD_CLOEXEC, 3)};
  for (int fd = 0; fd < 3; ++fd) {
    if (high[fd] < 0 || ::dup2(high[fd], fd) < 0) channel.fail("set up stdio", errno);
    struct stat info;
    // So that a program that is not root may open /dev/stdout again. Not for /dev/null, which is everybody's.
    if (::fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode)) [[maybe_unused]]
      int ignored = ::fchown(fd, uid, static_cast<gid_t>(-1));
  }
}

void become(const Process& process, const Channel& channel) {
  // Said before the seccomp filter, which may not allow it. What fails from here on is reported after it.
  channel.send(Report::ready, "");
  apply_limits(process, channel);
  ::umask(process.umask);
  bool there = enter_directory(process, channel, false);
  // Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go.
  if (!process.no_new_privileges) install_seccomp(process, channel);
  set_identity(process, channel);
  if (!there) enter_directory(process, channel, true);
  if (process.no_new_privileges) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) channel.fail("set no_new_privs", errno);
    install_seccomp(process, channel);
  }
  std::string program = find_program(process, channel);
  auto argv = pointers(process.argv);
  auto env = pointers(process.env);
  ::syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
  ::execve(program.c_str(), argv.data(), env.data());
  channel.fail_program("exec " + program + ": " + lower_error(errno));
}

}  // namespace kcube::monitor
