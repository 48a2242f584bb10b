#include "runtime/monitor/task.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kcube::monitor {
namespace {

Fd duplicate(int fd) { return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

bool make_pipe(Fd& read_end, Fd& write_end) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
  return true;
}

// A descriptor that rides on the last message read, or -1.
int received_fd(msghdr& message) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int fd;
    std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
  }
  return -1;
}

}  // namespace

int64_t now_ns() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

Task::Task(Loop& loop, TaskOwner& owner, Kind what, std::string name)
    : kind(what), id(std::move(name)), loop_(loop), owner_(owner) {
  exit.id = id;
}

Task::~Task() {
  if (channel_.valid()) loop_.remove(channel_.get());
}

bool Task::prepare_pipes(bool want_stdin, std::shared_ptr<LogWriter> log, bool once) {
  log_ = std::move(log);
  stdin_once_ = once;
  Fd out, err;
  if (want_stdin) {
    if (!make_pipe(child_in_, input_)) return false;
  } else {
    child_in_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  if (!make_pipe(out, child_out_) || !make_pipe(err, child_err_)) return false;
  out_ = std::make_unique<OutputStream>(loop_, std::move(out), log_, "stdout");
  err_ = std::make_unique<OutputStream>(loop_, std::move(err), log_, "stderr");
  return true;
}

void Task::prepare_console(std::shared_ptr<LogWriter> log, bool want_stdin, bool once) {
  log_ = std::move(log);
  console_ = true;
  want_stdin_ = want_stdin;
  stdin_once_ = once;
}

void Task::give(Fd in, Fd out, Fd err) {
  if (console_) {
    early_in_ = std::move(in);
    early_out_ = std::move(out);
    return;
  }
  child_in_ = in.valid() ? std::move(in) : Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  child_out_ = out.valid() ? std::move(out) : Fd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  child_err_ = err.valid() ? std::move(err) : Fd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
}

void Task::began(pid_t new_pid, Fd new_pidfd, Fd channel) {
  pid = new_pid;
  pidfd = std::move(new_pidfd);
  channel_ = std::move(channel);
  child_in_.reset();
  child_out_.reset();
  child_err_.reset();
  loop_.add(channel_.get(), EPOLLIN, this);
}

void Task::on_ready(int, uint32_t) {
  if (!read_report()) channel_ended();
}

bool Task::read_report() {
  char text[4096];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec io{text, sizeof text};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = ::recvmsg(channel_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  std::string rest(text + 1, static_cast<size_t>(n) - 1);
  switch (static_cast<Report>(text[0])) {
    case Report::ready: ready_ = true; return !early_ready;
    case Report::moved: moved(rest, Fd(received_fd(message))); break;
    case Report::console: use_master(Fd(received_fd(message))); break;
    case Report::warning: warning_ = rest; break;
    case Report::program: program_missing_ = true; [[fallthrough]];
    case Report::setup: error_ = rest; break;
  }
  return true;
}

void Task::channel_ended() {
  loop_.remove(channel_.get());
  channel_.reset();
  if (error_.empty() && !ready_) error_ = "the process was killed while the container was being prepared";
  runtime::protocol::Started started;
  started.error = error_;
  started.warning = warning_;
  started.program_missing = program_missing_;
  started.pid = pid;
  started.started_at_ns = started_at_ns = now_ns();
  state = error_.empty() ? State::running : State::failed;
  owner_.on_started(*this, started);
}

// From now on the task is another child of the monitor, which waits to hear that this was understood. So does the old
// one, so that its end is never taken for the task's.
void Task::moved(const std::string& new_pid, Fd new_pidfd) {
  pid = static_cast<pid_t>(::strtol(new_pid.c_str(), nullptr, 10));
  pidfd = std::move(new_pidfd);
  // Killed and reaped before it was known here.
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), 0, nullptr, 0) != 0) pidfd.reset();
  for (int i = 0; i < 2; ++i) ::send(channel_.get(), "g", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Task::fail_preparation(std::string why) {
  error_ = std::move(why);
  signal(SIGKILL);
}

void Task::use_master(Fd master) {
  if (!master.valid()) return;
  master_ = std::move(master);
  out_ = std::make_unique<OutputStream>(loop_, duplicate(master_.get()), log_, "stdout");
  if (want_stdin_) input_ = duplicate(master_.get());
  if (early_out_.valid()) out_->add_sink(std::move(early_out_));
  if (early_in_.valid())
    pumps_.push_back(std::make_unique<InputPump>(loop_, std::move(early_in_), duplicate(master_.get()), *this));
}

std::string Task::attach(Fd in, Fd out, Fd err) {
  if (state != State::running) return "the container is not running";
  if (in.valid()) {
    if (!input_.valid()) return "the container's stdin is closed";
    pumps_.push_back(std::make_unique<InputPump>(loop_, std::move(in), duplicate(input_.get()), *this));
  }
  if (out.valid() && out_) out_->add_sink(std::move(out));
  if (err.valid() && err_) err_->add_sink(std::move(err));
  return "";
}

void Task::on_input_end(InputPump* pump, bool source_ended) {
  std::erase_if(pumps_, [&](const auto& p) { return p.get() == pump; });
  if (!source_ended) return;
  if (kind == Kind::exec && master_.valid()) {
    // The end of input on a terminal is a character, when lines are being edited.
    termios settings;
    if (::tcgetattr(master_.get(), &settings) == 0 && (settings.c_lflag & ICANON)) [[maybe_unused]]
      auto n = ::write(master_.get(), &settings.c_cc[VEOF], 1);
  }
  if (stdin_once_ && !master_.valid()) input_.reset();
}

void Task::resize(uint16_t width, uint16_t height) {
  winsize size{height, width, 0, 0};
  if (master_.valid()) ::ioctl(master_.get(), TIOCSWINSZ, &size);
}

void Task::signal(int number) {
  if (pidfd.valid()) ::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
}

void Task::ended(int code, int signal_number) {
  // What the child said last comes before its death.
  while (channel_.valid() && read_report()) {
    char probe;
    if (::recv(channel_.get(), &probe, 1, MSG_PEEK | MSG_DONTWAIT) < 0) break;
  }
  if (channel_.valid()) channel_ended();
  exit.code = code;
  exit.signal = signal_number;
  exit.finished_at_ns = now_ns();
  exit.oom_killed = oom_killed();
  // In a PID namespace of its own everything else is dead already; elsewhere it is this that ends it.
  if (kill_file.valid()) [[maybe_unused]]
    auto n = ::write(kill_file.get(), "1", 1);
  pumps_.clear();
  input_.reset();
  if (out_) out_->finish();
  if (err_) err_->finish();
  master_.reset();
  pidfd.reset();
  if (state == State::running) {
    state = State::exited;
    record_exit();
  }
}

bool Task::oom_killed() {
  if (!oom_file.valid()) return false;
  char text[1024];
  ssize_t n = ::pread(oom_file.get(), text, sizeof text - 1, 0);
  if (n <= 0) return false;
  text[n] = 0;
  const char* found = ::strstr(text, "oom_kill ");
  return found != nullptr && ::strtol(found + 9, nullptr, 10) > 0;
}

// For a kcube that is not there to be told, or a monitor that is gone when it asks.
void Task::record_exit() {
  if (state_dir.empty()) return;
  char text[128];
  int length = ::snprintf(text, sizeof text, "%d %d %d %lld\n", exit.code, exit.signal, exit.oom_killed ? 1 : 0,
                          static_cast<long long>(exit.finished_at_ns));
  std::string path = state_dir + "/exit", scratch = path + ".new";
  Fd file(::open(scratch.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (file.valid() && ::write(file.get(), text, static_cast<size_t>(length)) == length)
    ::rename(scratch.c_str(), path.c_str());
}

bool Task::finished() const {
  if (state != State::exited && state != State::failed) return false;
  return !pidfd.valid() && (!out_ || out_->done()) && (!err_ || err_->done());
}

}  // namespace kcube::monitor
