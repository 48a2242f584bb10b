#include "pkg/http/reactor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "pkg/base/executor.h"
#include "pkg/base/log.h"
#include "pkg/http/tunnel.h"

namespace kcube::http {
namespace {

// What an epoll event is about: the wake-up descriptor, a listener, or a connection by id.
constexpr uint64_t kWakeTag = 0;
constexpr uint64_t kFirstConnection = 1024;
constexpr size_t kPostedBatch = 32;
constexpr uint32_t kListen = EPOLLIN | EPOLLONESHOT;  // a client that comes wakes one thread, not all that wait
constexpr int kIdleLifeMs = 10000;   // a surplus thread leaves after this
constexpr int kSampleMs = 1;         // between looks at a reactor without a free thread
constexpr int kStalledSamples = 20;  // without any progress: add a thread even if all compute

thread_local bool thread_lent = false;

std::string address_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof text);
  if (address.ss_family == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text, sizeof text);
  std::string_view view(text);
  if (view.starts_with("::ffff:") && view.find('.') != std::string_view::npos) view.remove_prefix(7);
  return std::string(view);
}

// Small answers leave at once; a peer that vanished without a word is found within two minutes.
void tune(int fd) {
  int one = 1, idle = 60, interval = 15, count = 4;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void signal_fd(const Fd& fd) {
  uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(fd.get(), &one, sizeof one);
}

}  // namespace

int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Reactor::Reactor(ServerOptions options, Handler handler, TlsContext context)
    : options_(std::move(options)),
      handler_(std::move(handler)),
      context_(std::move(context)),
      base_threads_(std::min<size_t>(options_.max_threads, std::max(2U, std::thread::hardware_concurrency()))) {}

void Reactor::finish() {
  stop(std::chrono::milliseconds(0));
  {
    std::unique_lock lock(workers_mutex_);
    workers_changed_.wait(lock, [&] { return workers_.empty(); });
  }
  join_retired();
  for (auto& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    shard.connections.clear();
  }
  std::deque<std::function<void()>> tasks;
  {
    std::lock_guard lock(posted_mutex_);
    posted_.clear();
    tasks.swap(tasks_);
  }
  tasks.clear();
  for (auto& listener : listeners_)
    if (!listener.unix_path.empty()) ::unlink(listener.unix_path.c_str());
}

Result<void> Reactor::open() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  alarm_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!epoll_ || !wake_ || !alarm_) return fail(Status::from_errno("epoll"));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kWakeTag;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  return {};
}

void Reactor::add_listener(Listener listener) { listeners_.push_back(std::move(listener)); }

void Reactor::set_context(TlsContext context) {
  std::lock_guard lock(context_mutex_);
  context_ = std::move(context);
}

void Reactor::start() {
  for (size_t i = 0; i < listeners_.size(); ++i) {
    epoll_event event{};
    event.events = kListen;
    event.data.u64 = 1 + i;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listeners_[i].fd.get(), &event);
  }
  last_id_ = kFirstConnection;
  for (size_t i = 0; i < base_threads_; ++i) spawn();
  supervisor_ = std::thread([this] { supervise(); });
}

// --- Workers ---

void Reactor::join_retired() {
  std::vector<std::thread> retired;
  {
    std::lock_guard lock(workers_mutex_);
    retired.swap(retired_);
  }
  for (auto& thread : retired) thread.join();
}

bool Reactor::spawn() {
  join_retired();
  std::lock_guard lock(workers_mutex_);
  if (workers_.size() >= options_.max_threads + lent_ || quit_) return false;
  ++idle_;  // counted at once, so that the supervisor does not add two for one
  std::thread thread([this] { work(); });
  auto id = thread.get_id();
  workers_[id].thread = std::move(thread);
  return true;
}

void Reactor::lend_thread() {
  std::lock_guard lock(workers_mutex_);
  if (!workers_.contains(std::this_thread::get_id()) || std::exchange(thread_lent, true)) return;
  ++lent_;
}

void Reactor::work() {
  set_thread_name("http");
  {
    std::lock_guard lock(workers_mutex_);
    std::string path = "/proc/self/task/" + std::to_string(::gettid()) + "/stat";
    workers_[std::this_thread::get_id()].stat_fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  }
  while (!quit_) {
    epoll_event event{};
    int n = ::epoll_wait(epoll_.get(), &event, 1, kIdleLifeMs);
    if (n <= 0) {
      std::lock_guard lock(workers_mutex_);
      if (n == 0 && workers_.size() > base_threads_ + lent_) break;
      continue;
    }
    progress_.fetch_add(1, std::memory_order_relaxed);
    if (idle_.fetch_sub(1) == 1 && supervisor_asleep_) wake_supervisor();
    uint64_t tag = event.data.u64;
    if (tag == kWakeTag)
      run_posted();
    else if (tag < kFirstConnection)
      accept_some(tag - 1);
    else if (auto connection = find(tag))
      connection->poke(event.events);
    ++idle_;
    if (std::exchange(thread_lent, false)) {
      std::lock_guard lock(workers_mutex_);
      --lent_;
      if (workers_.size() > options_.max_threads + lent_) break;
    }
  }
  --idle_;
  std::lock_guard lock(workers_mutex_);
  auto it = workers_.find(std::this_thread::get_id());
  if (it->second.stat_fd >= 0) ::close(it->second.stat_fd);
  retired_.push_back(std::move(it->second.thread));
  workers_.erase(it);
  workers_changed_.notify_all();
}

void Reactor::post(std::shared_ptr<Connection> connection) {
  bool first;
  {
    std::lock_guard lock(posted_mutex_);
    if (quit_) return;  // nobody would take it
    first = posted_.empty();
    posted_.push_back(std::move(connection));
  }
  if (first) signal_fd(wake_);
}

void Reactor::post(std::function<void()> task) {
  {
    std::lock_guard lock(posted_mutex_);
    if (quit_) return;
    tasks_.push_back(std::move(task));
  }
  signal_fd(wake_);
}

void Reactor::run_task() {
  std::function<void()> task;
  {
    std::lock_guard lock(posted_mutex_);
    if (tasks_.empty()) return;
    task = std::move(tasks_.front());
    tasks_.pop_front();
    if (!tasks_.empty()) signal_fd(wake_);
  }
  handler_started();
  task();
  handler_finished();
}

void Reactor::run_posted() {
  std::vector<std::shared_ptr<Connection>> batch;
  bool more;
  {
    std::lock_guard lock(posted_mutex_);
    size_t n = std::min(posted_.size(), kPostedBatch);
    batch.assign(std::make_move_iterator(posted_.begin()),
                 std::make_move_iterator(posted_.begin() + static_cast<long>(n)));
    posted_.erase(posted_.begin(), posted_.begin() + static_cast<long>(n));
    more = !posted_.empty() || !tasks_.empty();
  }
  if (more) signal_fd(wake_);  // another thread takes the next batch meanwhile
  for (auto& connection : batch) connection->poke(0);
  if (batch.empty()) run_task();  // answers before new work
}

// --- Connections ---

// Takes a batch and lets the listener speak up again.
void Reactor::accept_some(size_t index) {
  accept_batch(listeners_[index]);
  epoll_event event{};
  event.events = kListen;
  event.data.u64 = 1 + index;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listeners_[index].fd.get(), &event);
}

void Reactor::accept_batch(Listener& listener) {
  for (int i = 0; i < 16; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    Fd fd(::accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno != EMFILE && errno != ENFILE) return;
      // Out of descriptors: give the spare one up to refuse this client, or the listener would stay readable for ever.
      std::lock_guard lock(context_mutex_);
      spare_.reset();
      Fd refused(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      refused.reset();
      spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      return;
    }
    if (count_ >= options_.max_connections || stopping_) continue;
    if (listener.unix_path.empty()) tune(fd.get());
    adopt(std::move(fd), listener, address_text(address));
  }
}

void Reactor::adopt(Fd fd, const Listener& listener, std::string remote) {
  SslPtr ssl;
  if (listener.tls) {
    std::lock_guard lock(context_mutex_);
    ssl = accept_ssl(context_);
    if (!ssl) return;
  }
  uint64_t id = ++last_id_;
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  const bool from_here = ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0 && address_text(own) == remote;
  auto connection = std::make_shared<Connection>(*this, id, std::move(fd), std::move(ssl), std::move(remote), from_here);
  Shard& shard = shards_[id % kShards];
  {
    std::lock_guard lock(shard.mutex);
    shard.connections.emplace(id, connection);
  }
  if (count_.fetch_add(1) == 0) wake_supervisor();
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = id;
  int number = connection->fd();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, number, &event) != 0) {
    connection->expire();
    connection->poke(0);
  }
}

std::shared_ptr<Connection> Reactor::find(uint64_t id) {
  Shard& shard = shards_[id % kShards];
  std::lock_guard lock(shard.mutex);
  auto it = shard.connections.find(id);
  return it == shard.connections.end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<Connection>> Reactor::all() {
  std::vector<std::shared_ptr<Connection>> found;
  for (auto& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    for (auto& [id, connection] : shard.connections) found.push_back(connection);
  }
  return found;
}

void Reactor::remove(const Connection& connection) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd(), nullptr);
  Shard& shard = shards_[connection.id() % kShards];
  std::lock_guard lock(shard.mutex);
  if (shard.connections.erase(connection.id()) > 0) --count_;
}

void Reactor::hand_over(const Connection& connection, const std::shared_ptr<SocketTunnel>& tunnel) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, tunnel->fd(), nullptr);
  Shard& shard = shards_[connection.id() % kShards];
  {
    std::lock_guard lock(shard.mutex);
    if (shard.connections.erase(connection.id()) > 0) --count_;
  }
  std::lock_guard lock(tunnels_mutex_);
  std::erase_if(tunnels_, [](auto& old) { return old.expired(); });
  tunnels_.push_back(tunnel);
}

// --- The supervisor: deadlines, and threads when handlers block ---

void Reactor::wake_supervisor() { signal_fd(alarm_); }

void Reactor::supervise() {
  set_thread_name("http-super");
  while (!quit_) {
    relieve();
    sweep();
    int64_t now = steady_ms();
    int timeout = next_sweep_ms_ == 0 ? -1 : static_cast<int>(std::max<int64_t>(1, next_sweep_ms_ - now));
    supervisor_asleep_ = true;
    // With no thread free already, nobody would wake us.
    if (idle_ <= 0) timeout = kSampleMs;
    pollfd descriptor{alarm_.get(), POLLIN, 0};
    ::poll(&descriptor, 1, timeout);
    supervisor_asleep_ = false;
    uint64_t count;
    [[maybe_unused]] auto n = ::read(alarm_.get(), &count, sizeof count);
  }
}

// While every thread is in a handler and events wait: adds threads for those that are blocked.
void Reactor::relieve() {
  uint64_t seen = progress_;
  for (int stalled = 0; idle_ <= 0 && !quit_;) {
    pollfd none{-1, 0, 0};
    ::poll(&none, 0, kSampleMs);
    pollfd events{epoll_.get(), POLLIN, 0};
    if (idle_ > 0) return;
    if (::poll(&events, 1, 0) <= 0) {
      // All busy but nothing waits. Sleep until something does.
      pollfd both[2] = {{epoll_.get(), POLLIN, 0}, {alarm_.get(), POLLIN, 0}};
      ::poll(both, 2, 1000);
      if (idle_ > 0 || (both[1].revents & POLLIN) || next_sweep_ms_ <= steady_ms()) return;
      continue;
    }
    stalled = progress_ == seen ? stalled + 1 : 0;
    seen = progress_;
    size_t running = running_workers(), wanted = base_threads_;
    for (; running < wanted; ++running)
      if (!spawn()) return;
    if (stalled >= kStalledSamples) {
      spawn();
      stalled = 0;
    }
  }
}

// Workers that compute or wait for a processor, by proc(5) stat field 3.
size_t Reactor::running_workers() {
  std::lock_guard lock(workers_mutex_);
  size_t running = 0;
  for (auto& [id, worker] : workers_) {
    char text[128];
    ssize_t n = worker.stat_fd < 0 ? -1 : ::pread(worker.stat_fd, text, sizeof text, 0);
    std::string_view stat(text, n > 0 ? static_cast<size_t>(n) : 0);
    auto name_end = stat.rfind(')');
    if (name_end == std::string_view::npos || stat.substr(name_end).starts_with(") R")) ++running;
  }
  return running;
}

// Deadlines only move away from now, and a new connection's is a header_deadline ahead: the next look can wait for the
// nearer of that and the earliest known.
void Reactor::sweep() {
  int64_t now = steady_ms();
  if (next_sweep_ms_ > now) return;
  bool any = false;
  for (auto& connection : all()) {
    any = true;
    if (!connection->overdue(now)) continue;
    connection->expire();
    connection->poke(0);
  }
  next_sweep_ms_ = any ? now + std::max<int64_t>(20, options_.header_deadline.count() / 4) : 0;
}

// --- Stopping ---

void Reactor::handler_finished() {
  if (--handlers_ == 0 && stopping_) {
    std::lock_guard lock(workers_mutex_);
    workers_changed_.notify_all();
  }
}

void Reactor::end_connections(bool also_busy) {
  for (auto& connection : all()) {
    if (also_busy) connection->expire();
    connection->poke(EPOLLIN);
  }
}

void Reactor::stop(std::chrono::milliseconds deadline) {
  if (stopping_.exchange(true)) return;
  for (auto& listener : listeners_) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener.fd.get(), nullptr);
    ::shutdown(listener.fd.get(), SHUT_RDWR);
  }
  end_connections(false);
  {
    std::unique_lock lock(workers_mutex_);
    workers_changed_.wait_for(lock, deadline, [&] { return handlers_ == 0; });
  }
  end_connections(true);
  {
    std::lock_guard lock(tunnels_mutex_);
    for (auto& weak : tunnels_)
      if (auto tunnel = weak.lock()) tunnel->close();
  }
  quit_ = true;
  wake_supervisor();
  if (supervisor_.joinable()) supervisor_.join();
  // Level-triggered now: wakes every worker, also those that come back from a handler later.
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeTag;
  signal_fd(wake_);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, wake_.get(), &event);
}

}  // namespace kcube::http
