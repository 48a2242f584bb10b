// kcube-monitor DIRECTORY [4]: guards one pod. Started by kcube with a connection to it as descriptor 3; leaves kcube's
// session, process tree and (when descriptor 4 is a cgroup2 directory) cgroup at once, so that nothing that happens to
// kcube reaches it, a service manager that ends the service's cgroup included. Never run by hand.
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/monitor/monitor.h"

namespace {

// Born elsewhere instead of moved: a move waits for the whole machine's processes (an RCU grace period).
pid_t fork_into(int cgroup) {
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<uint64_t>(cgroup);
  auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  return pid >= 0 ? pid : ::fork();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  ::signal(SIGPIPE, SIG_IGN);
  pid_t pid = argc > 2 ? fork_into(4) : ::fork();
  if (pid != 0) return pid < 0;
  ::setsid();
  ::prctl(PR_SET_NAME, "kcube-monitor");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  if (argc > 2) ::close(4);
  if (::chdir("/") != 0) return 1;
  kcube::monitor::Monitor monitor(argv[1], kcube::Fd(3));
  if (!monitor.open()) return 1;
  monitor.run();
  return 0;
}
