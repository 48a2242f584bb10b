// Signals as something to wait for, and the file that says which process runs a cluster.
#pragma once

#include <initializer_list>
#include <string>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::cli {

// Blocks the signals for every thread made from now on; wait() takes the first that comes. Ignores SIGPIPE.
class SignalWaiter {
 public:
  explicit SignalWaiter(std::initializer_list<int> signals);
  int wait();
  int fd() const { return fd_.get(); }

 private:
  Fd fd_;
};

// "PID STARTTIME" of this process.
Result<void> write_pid_file(const std::string& path);

}  // namespace kcube::cli
