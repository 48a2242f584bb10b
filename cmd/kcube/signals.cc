#include "cmd/kcube/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "pkg/base/file.h"
#include "pkg/base/process.h"

namespace kcube::cli {

SignalWaiter::SignalWaiter(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int s : signals) sigaddset(&set, s);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  fd_.reset(::signalfd(-1, &set, SFD_CLOEXEC));
}

int SignalWaiter::wait() {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) != sizeof info) {
  }
  return static_cast<int>(info.ssi_signo);
}

Result<void> write_pid_file(const std::string& path) {
  pid_t pid = ::getpid();
  return file::write_atomic(path, std::to_string(pid) + " " + std::to_string(process::start_time(pid)) + "\n", 0644);
}

}  // namespace kcube::cli
