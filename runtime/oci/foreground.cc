#include "runtime/oci/foreground.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <string_view>

namespace kcube::runtime::oci {
namespace {

constexpr int kForwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};

sigset_t forwarded() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int number : kForwarded) ::sigaddset(&set, number);
  return set;
}

Fd open_signals() {
  sigset_t set = forwarded();
  return Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int next_signal(const Fd& signals) {
  signalfd_siginfo info;
  return ::read(signals.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

// Raw for its lifetime, when standard input is a terminal.
class RawTerminal {
 public:
  RawTerminal() : active_(::tcgetattr(0, &before_) == 0) {
    if (!active_) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    ::tcsetattr(0, TCSANOW, &raw);
  }
  ~RawTerminal() {
    if (active_) ::tcsetattr(0, TCSANOW, &before_);
  }

 private:
  termios before_;
  bool active_;
};

void resize_to_ours(const StreamSession& session) {
  winsize size;
  if (::ioctl(0, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) session.resize({size.ws_col, size.ws_row});
}

// False at the end or when nobody takes it.
bool copy(int from, int to) {
  char buffer[16384];
  ssize_t n = ::read(from, buffer, sizeof buffer);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  std::string_view rest(buffer, static_cast<size_t>(n));
  while (!rest.empty()) {
    ssize_t written = ::write(to, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return n > 0;
}

}  // namespace

void block_signals() {
  sigset_t set = forwarded();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
}

int follow_console(StreamSession session) {
  Fd signals = open_signals();
  RawTerminal raw;
  resize_to_ours(session);
  for (;;) {
    pollfd p[3] = {
        {session.out.get(), POLLIN, 0}, {session.in.valid() ? 0 : -1, POLLIN, 0}, {signals.get(), POLLIN, 0}};
    if (::poll(p, 3, -1) < 0 && errno != EINTR) break;
    if (p[0].revents != 0 && !copy(session.out.get(), 1)) break;
    if (p[1].revents != 0 && !copy(0, session.in.get())) session.in.reset();
    if (p[2].revents != 0 && next_signal(signals) == SIGWINCH) resize_to_ours(session);
  }
  return session.wait().value_or(255);
}

Result<int> follow_container(OciContainer& container) {
  Fd signals = open_signals(), ended(::eventfd(0, EFD_CLOEXEC));
  container.runtime().set_event_sink([&](const Event& event) {
    if (event.type == Event::Type::container_stopped) ::eventfd_write(ended.get(), 1);
  });
  for (;;) {
    auto status = container.runtime().container_status(container.container_id());
    if (!status || status->state != ContainerState::running) {
      container.runtime().set_event_sink(nullptr);
      return status ? Result<int>(status->exit_code) : Result<int>(fail(status.error()));
    }
    pollfd p[2] = {{ended.get(), POLLIN, 0}, {signals.get(), POLLIN, 0}};
    if (::poll(p, 2, -1) < 0 && errno != EINTR) return fail(Status::from_errno("poll"));
    if (p[1].revents == 0) continue;
    if (int number = next_signal(signals); number != 0)
      (void)container.runtime().signal_container(container.container_id(), number);
  }
}

}  // namespace kcube::runtime::oci
