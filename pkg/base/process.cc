#include "pkg/base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "pkg/base/file.h"

extern char** environ;

namespace kcube::process {
namespace {

rlimit files_before{};  // all zero: not raised

constexpr size_t kMaxOutput = size_t{8} << 20;

struct FileActions {
  posix_spawn_file_actions_t actions;
  FileActions() { posix_spawn_file_actions_init(&actions); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions); }
};

struct Attributes {
  posix_spawnattr_t attributes;
  Attributes() { posix_spawnattr_init(&attributes); }
  ~Attributes() { posix_spawnattr_destroy(&attributes); }
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (const auto& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

int exit_code_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int left_ms(std::chrono::steady_clock::time_point end) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

}  // namespace

Result<Child> spawn(const SpawnOptions& options) {
  KCUBE_CHECK(!options.argv.empty());
  FileActions file_actions;
  auto* actions = &file_actions.actions;
  if (options.stdin_fd < 0)
    posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
  else
    posix_spawn_file_actions_adddup2(actions, options.stdin_fd, 0);
  if (options.stdout_fd >= 0) posix_spawn_file_actions_adddup2(actions, options.stdout_fd, 1);
  if (options.stderr_fd >= 0) posix_spawn_file_actions_adddup2(actions, options.stderr_fd, 2);
  for (auto [ours, theirs] : options.extra_fds) posix_spawn_file_actions_adddup2(actions, ours, theirs);

  Attributes attributes;
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (options.new_session) flags |= POSIX_SPAWN_SETSID;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes.attributes, &none);
  posix_spawnattr_setsigdefault(&attributes.attributes, &all);
  posix_spawnattr_setflags(&attributes.attributes, flags);

  auto argv = pointers(options.argv);
  auto env = pointers(options.env);
  Child child;
  int error = posix_spawnp(&child.pid, options.argv[0].c_str(), actions, &attributes.attributes, argv.data(),
                           options.env.empty() ? environ : env.data());
  if (error != 0) return fail(Status::from_errno("run " + options.argv[0], error));
  if (files_before.rlim_max != 0) ::prlimit(child.pid, RLIMIT_NOFILE, &files_before, nullptr);
  auto pidfd = open_pid(child.pid);
  if (!pidfd) return fail(pidfd.error());
  child.pidfd = std::move(*pidfd);
  return child;
}

void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  rlimit most{limit.rlim_max, limit.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &most) == 0) files_before = limit;
}

Result<Output> run(const std::vector<std::string>& argv, std::chrono::milliseconds deadline) {
  std::array<int, 2> out_pipe, err_pipe;
  if (::pipe2(out_pipe.data(), O_CLOEXEC) != 0) return fail(Status::from_errno("pipe"));
  Fd out_read(out_pipe[0]), out_write(out_pipe[1]);
  if (::pipe2(err_pipe.data(), O_CLOEXEC) != 0) return fail(Status::from_errno("pipe"));
  Fd err_read(err_pipe[0]), err_write(err_pipe[1]);
  SpawnOptions options;
  options.argv = argv;
  options.stdout_fd = out_write.get();
  options.stderr_fd = err_write.get();
  auto child = spawn(options);
  if (!child) return fail(child.error());
  out_write.reset();
  err_write.reset();

  Output output;
  auto end = std::chrono::steady_clock::now() + deadline;
  std::array<pollfd, 2> polls{pollfd{out_read.get(), POLLIN, 0}, pollfd{err_read.get(), POLLIN, 0}};
  std::array<std::string*, 2> sinks{&output.out, &output.err};
  bool late = false;
  while (!late && (polls[0].fd >= 0 || polls[1].fd >= 0)) {
    int n = ::poll(polls.data(), polls.size(), left_ms(end));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      late = true;
      break;
    }
    for (size_t i = 0; i < polls.size(); ++i) {
      if (polls[i].revents == 0) continue;
      char buffer[16384];
      ssize_t got = ::read(polls[i].fd, buffer, sizeof buffer);
      if (got <= 0) {
        polls[i].fd = -1;
      } else if (sinks[i]->size() < kMaxOutput) {
        sinks[i]->append(buffer, static_cast<size_t>(got));
      }
    }
  }
  if (!late && !wait_exit(child->pidfd, std::chrono::milliseconds(left_ms(end)))) late = true;
  if (late) (void)send_signal(child->pidfd, SIGKILL);
  int wait_status = 0;
  while (::waitpid(child->pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (late) return fail(Status::timeout(argv[0] + " did not end in time"));
  output.exit_code = exit_code_of(wait_status);
  return output;
}

Result<Fd> open_pid(pid_t pid) {
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) {
    if (errno == ESRCH) return fail(Status::not_found("no process " + std::to_string(pid)));
    return fail(Status::from_errno("pidfd_open " + std::to_string(pid)));
  }
  return fd;
}

Result<void> send_signal(const Fd& pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) != 0 && errno != ESRCH)
    return fail(Status::from_errno("send signal " + std::to_string(signal)));
  return {};
}

bool wait_exit(const Fd& pidfd, std::chrono::milliseconds deadline) {
  auto end = std::chrono::steady_clock::now() + deadline;
  while (true) {
    pollfd p{pidfd.get(), POLLIN, 0};
    int n = ::poll(&p, 1, left_ms(end));
    if (n < 0 && errno == EINTR) continue;
    return n > 0;
  }
}

namespace {

// A field of /proc/PID/stat by its number in proc(5), from the third on; 0 when there is no such process.
uint64_t stat_field(pid_t pid, int number) {
  auto stat = file::read("/proc/" + std::to_string(pid) + "/stat");
  if (!stat) return 0;
  // The command in field 2 may hold spaces and parentheses: count from the last ')'.
  size_t at = stat->rfind(')');
  if (at == std::string::npos) return 0;
  for (int field = 2; field < number; ++field) {
    at = stat->find(' ', at + 1);
    if (at == std::string::npos) return 0;
  }
  return std::strtoull(stat->c_str() + at + 1, nullptr, 10);
}

}  // namespace

uint64_t start_time(pid_t pid) { return stat_field(pid, 22); }

bool is_dying(pid_t pid) {
  constexpr uint64_t kExiting = 4;  // PF_EXITING of the kernel's sched.h
  if (stat_field(pid, 9) & kExiting) return true;
  auto status = file::read("/proc/" + std::to_string(pid) + "/status");
  if (!status) return true;
  size_t at = status->find("\nShdPnd:");
  return at != std::string::npos && (std::strtoull(status->c_str() + at + 8, nullptr, 16) & 1u << (SIGKILL - 1));
}

std::string self_path() {
  char buffer[4096];
  ssize_t n = ::readlink("/proc/self/exe", buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

}  // namespace kcube::process
