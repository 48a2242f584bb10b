// Signals as something to wait for, and the file that says which process runs a cluster.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <initializer_list>
#include <string>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::cli {

// Blocks the signals for every thread made from now on; wait() takes the first that comes. Those that our caller had us
// ignore stay ignored. Ignores SIGPIPE.
class SignalWaiter {
 public:
  explicit SignalWaiter(std::initializer_list<int> signals);
  int wait();
  // True when one has come, or comes within `limit`; wait() then returns it.
  bool pending(std::chrono::milliseconds limit) const;

 private:
  Fd fd_;
};

// "PID STARTTIME" of a process: a pid alone may be someone else's by the time the file is read.
Result<void> write_pid_file(const std::string& path, pid_t pid);
// The process that such a file names, if it is still that one; else 0. Waits for the end of one that was killed.
pid_t process_of(const std::string& path);

}  // namespace kcube::cli
