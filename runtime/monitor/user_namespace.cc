// A pod's own user namespace: user_namespaces(7), setns(2), clone(2) CLONE_PARENT.
//
// Pause is cloned into the namespace, and the monitor writes its maps. A container has to open what it mounts as the
// host's root, but its mount and PID namespaces must belong to the user namespace, or it could neither mount nor see
// its own /proc. So a first process opens and joins, and clones a second one, which the monitor takes for the
// container from then on.
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/monitor/child.h"

namespace kcube::monitor {

namespace protocol = runtime::protocol;

std::string write_id_maps(pid_t pid, const protocol::IdRange& ids) {
  std::string line = "0 " + std::to_string(ids.first) + " " + std::to_string(ids.count) + "\n";
  for (const char* name : {"/uid_map", "/gid_map"}) {
    std::string path = "/proc/" + std::to_string(pid) + name;
    Fd map(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!map.valid() || ::write(map.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      return "write " + path + ": " + ::strerror(errno);
  }
  return "";
}

void await_monitor(const Channel& channel) {
  char go = 0;
  ssize_t n;
  do n = ::recv(channel.fd, &go, 1, 0);
  while (n < 0 && errno == EINTR);
  if (n != 1) ::_exit(1);
}

void become_root_inside(const Channel& channel) {
  if (::syscall(SYS_setgroups, 0, nullptr) != 0 || ::syscall(SYS_setresgid, 0, 0, 0) != 0 ||
      ::syscall(SYS_setresuid, 0, 0, 0) != 0)
    channel.fail("become root of the pod's user namespace", errno);
  ::prctl(PR_SET_DUMPABLE, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void own_pipes(const ChildContext& context, const protocol::IdRange& ids, uint32_t uid) {
  for (int fd : {context.in, context.out, context.err}) {
    struct stat info;
    if (fd >= 0 && ::fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode)) [[maybe_unused]]
      int ignored = ::fchown(fd, ids.first + uid, static_cast<gid_t>(-1));
  }
}

void carry_on_inside(const protocol::StartContainer& spec, const ChildContext& context) {
  const Channel& channel = context.channel;
  own_pipes(context, spec.ids, spec.process.uid);
  if (context.pid_namespace >= 0 && ::setns(context.pid_namespace, CLONE_NEWPID) != 0)
    channel.fail("join the PID namespace", errno);
  // What it holds of the host's is not for those inside to look at.
  ::prctl(PR_SET_DUMPABLE, 0);
  if (::setns(context.pause, CLONE_NEWUSER) != 0) channel.fail("join the pod's user namespace", errno);
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = spec.clone_flags | CLONE_PARENT | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid < 0) channel.fail("clone a process in the pod's user namespace", errno);
  if (pid > 0) {
    channel.send(Report::moved, std::to_string(pid), pidfd);
    await_monitor(channel);
    ::_exit(0);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  await_monitor(channel);
  if (::setsid() < 0) channel.fail("setsid", errno);
}

}  // namespace kcube::monitor
