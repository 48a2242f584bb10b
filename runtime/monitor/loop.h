// Loop: epoll for the monitor's one thread. Events are taken one at a time, so a callback may destroy any watcher.
#pragma once

#include <sys/epoll.h>

#include <cstdint>

#include "pkg/base/fd.h"

namespace kcube::monitor {

class Watcher {
 public:
  virtual void on_ready(int fd, uint32_t events) = 0;

 protected:
  ~Watcher() = default;
};

class Loop {
 public:
  bool open();
  // False when the descriptor cannot be polled (a regular file).
  bool add(int fd, uint32_t events, Watcher* watcher);
  void modify(int fd, uint32_t events, Watcher* watcher);
  void remove(int fd);
  void run();
  void stop() { stopping_ = true; }

 private:
  Fd epoll_;
  bool stopping_ = false;
};

}  // namespace kcube::monitor
