// kcube-monitor DIRECTORY: guards one pod. Started by kcube with a connection to it as descriptor 3; leaves kcube's
// session and process tree at once, so that nothing that happens to kcube reaches it. Never run by hand.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "runtime/monitor/monitor.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  ::signal(SIGPIPE, SIG_IGN);
  pid_t pid = ::fork();
  if (pid != 0) return pid < 0;
  ::setsid();
  ::prctl(PR_SET_NAME, "kcube-monitor");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  if (::chdir("/") != 0) return 1;
  kcube::monitor::Monitor monitor(argv[1], kcube::Fd(3));
  if (!monitor.open()) return 1;
  monitor.run();
  return 0;
}
