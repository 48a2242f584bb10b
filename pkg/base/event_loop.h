// EventLoop: epoll on one thread. Descriptors are watched with a callback, other threads hand in work with post().
// Used by the connection reactor, DNS, netlink monitors and the pod monitor. Source: epoll(7), eventfd(2).
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "pkg/base/clock.h"
#include "pkg/base/status.h"

namespace kcube {

class EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> create();
  ~EventLoop();

  // Runs until stop(). The calling thread is the loop's thread from now on.
  void run();
  // Any thread: makes run() return after the callback in hand.
  void stop();
  // Any thread: `action` runs on the loop's thread. Actions posted before run() wait for it.
  void post(std::function<void()> action);
  bool on_loop_thread() const;

  // Loop thread, or before run(). `events` are EPOLLIN and so on (EPOLLET and EPOLLONESHOT allowed). The loop does not
  // own `fd`: unwatch() before closing it. A callback may unwatch any descriptor, its own included.
  Result<void> watch(int fd, uint32_t events, std::function<void(uint32_t events)> callback);
  Result<void> modify(int fd, uint32_t events);
  void unwatch(int fd);

  // Loop thread, or before run(): runs `action` once after `delay` on the loop's thread.
  TimerId schedule(Duration delay, std::function<void()> action);
  bool cancel(TimerId id);

 private:
  EventLoop();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kcube
