// Processes: spawning, waiting by pidfd, and signals. Source: pidfd_open(2), posix_spawn(3).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::process {

struct SpawnOptions {
  std::vector<std::string> argv;                  // argv[0] is looked up on PATH unless it has a slash
  std::vector<std::string> env;                   // "K=V"; empty means this process's own
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1;  // -1: /dev/null for stdin, inherited for the others
  std::vector<std::pair<int, int>> extra_fds;     // {ours, number in the child}
  bool new_session = false;                       // setsid(2): signals to our terminal do not reach it
};

struct Child {
  pid_t pid = -1;
  Fd pidfd;
};

Result<Child> spawn(const SpawnOptions& options);

struct Output {
  int exit_code = -1;  // 128 + signal when killed
  std::string out, err;
};

// Runs to the end and collects both streams (8 MiB each at most); kills and fails with 504 at the deadline.
Result<Output> run(const std::vector<std::string>& argv, std::chrono::milliseconds deadline = std::chrono::minutes(1));

// As many open files as the system allows, for processes with a connection for each client. Children that are spawned get
// back what we had, so that containers do not inherit it. Call before other threads run.
void raise_file_limit();

// A pidfd for a process that need not be our child; 404 when there is none.
Result<Fd> open_pid(pid_t pid);
// pidfd_send_signal(2). A process that is gone already is not an error.
Result<void> send_signal(const Fd& pidfd, int signal);
// Waits until the process of `pidfd` ends (child or not); false at the deadline.
bool wait_exit(const Fd& pidfd, std::chrono::milliseconds deadline);

// Whether it was killed and is on its way out: giving back a large memory takes the kernel a while, with the pid still there.
bool is_dying(pid_t pid);
// proc(5) field 22: tells a process from a later one with the same pid. 0 when there is none.
uint64_t start_time(pid_t pid);
// Path of the running binary.
std::string self_path();

}  // namespace kcube::process
