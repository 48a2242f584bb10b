#include "runtime/monitor/loop.h"

#include <cerrno>
#include <unordered_map>

namespace kcube::monitor {
namespace {

// epoll_data has room for a pointer only; the descriptor comes from here.
struct Slot {
  int fd;
  Watcher* watcher;
};
std::unordered_map<int, Slot>& slots() {
  static std::unordered_map<int, Slot> table;
  return table;
}

}  // namespace

bool Loop::open() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  return epoll_.valid();
}

bool Loop::add(int fd, uint32_t events, Watcher* watcher) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return false;
  slots()[fd] = {fd, watcher};
  return true;
}

void Loop::modify(int fd, uint32_t events, Watcher* watcher) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
  slots()[fd] = {fd, watcher};
}

void Loop::remove(int fd) {
  if (slots().erase(fd) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Loop::run() {
  while (!stopping_) {
    epoll_event event;
    int n = ::epoll_wait(epoll_.get(), &event, 1, -1);
    if (n != 1) continue;
    auto it = slots().find(event.data.fd);
    if (it != slots().end()) it->second.watcher->on_ready(event.data.fd, event.events);
  }
}

}  // namespace kcube::monitor
