#include "cmd/kcube/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "pkg/base/file.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"

namespace kcube::cli {
namespace {

// How long the kernel may take to end a process that was killed: a server of 100,000 pods has a gigabyte to give back.
constexpr std::chrono::seconds kLastBreath{10};

}  // namespace

SignalWaiter::SignalWaiter(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int s : signals) {
    // What our caller had us ignore, as nohup(1) does with SIGHUP, stays so: blocked, it would reach the descriptor.
    struct sigaction now = {};
    if (::sigaction(s, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;
    sigaddset(&set, s);
  }
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

bool SignalWaiter::pending(std::chrono::milliseconds limit) const {
  pollfd poll{fd_.get(), POLLIN, 0};
  return ::poll(&poll, 1, static_cast<int>(limit.count())) > 0;
}

Result<void> write_pid_file(const std::string& path, pid_t pid) {
  return file::write_atomic(path, std::to_string(pid) + " " + std::to_string(process::start_time(pid)) + "\n", 0644);
}

pid_t process_of(const std::string& path) {
  auto text = file::read(path);
  if (!text) return 0;
  auto parts = split(trim(*text), ' ');
  auto pid = parse_int<pid_t>(parts[0]);
  auto start = parts.size() > 1 ? parse_int<uint64_t>(parts[1]) : std::nullopt;
  if (!pid || !start || process::start_time(*pid) != *start) return 0;
  if (!process::is_dying(*pid)) return *pid;
  auto pidfd = process::open_pid(*pid);
  return pidfd && !process::wait_exit(*pidfd, kLastBreath) ? *pid : 0;
}

}  // namespace kcube::cli
