#include "runtime/monitor_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pkg/base/file.h"
#include "pkg/base/process.h"

namespace kcube::runtime {
namespace {

constexpr auto kPatience = std::chrono::minutes(2);  // a cold disk may keep an exec waiting

}  // namespace

std::shared_ptr<MonitorClient> MonitorClient::start(EventLoop& loop, Fd socket, Callbacks callbacks) {
  std::shared_ptr<MonitorClient> client(new MonitorClient(loop, std::move(socket), std::move(callbacks)));
  timeval timeout{10, 0};
  ::setsockopt(client->socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  loop.post([client] {
    // The loop holds the client until it is unwatched.
    if (!client->loop_.watch(client->socket_.get(), EPOLLIN, [client](uint32_t) { client->on_readable(); }))
      client->lost();
  });
  return client;
}

Result<Fd> MonitorClient::connect(const std::string& directory) {
  Fd dir(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid()) return fail(Status::from_errno("open " + directory));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The path may be longer than sun_path.
  std::string path = "/proc/self/fd/" + std::to_string(dir.get()) + "/monitor.sock";
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail(Status::not_found("no monitor in " + directory + ": " + std::strerror(errno)));
  return socket;
}

Result<Fd> MonitorClient::spawn(const Fd& program, const std::string& directory, const Fd& cgroup, bool own_stdio) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail(Status::from_errno("socketpair"));
  Fd ours(ends[0]), theirs(ends[1]);
  process::SpawnOptions options;
  options.argv = {"", directory};
  options.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  options.stdin_fd = own_stdio ? 0 : null.get();
  options.stdout_fd = own_stdio ? 1 : null.get();
  options.stderr_fd = own_stdio ? 2 : null.get();
  options.extra_fds = {{theirs.get(), 3}};
  // Out of the way of the numbers that the child's descriptors get, one after the other.
  Fd high_program(::fcntl(program.get(), F_DUPFD_CLOEXEC, 10)), high_cgroup;
  options.argv[0] = "/proc/self/fd/" + std::to_string(high_program.get());
  if (cgroup.valid()) {
    high_cgroup.reset(::fcntl(cgroup.get(), F_DUPFD_CLOEXEC, 10));
    options.argv.push_back("4");
    options.extra_fds.emplace_back(high_cgroup.get(), 4);
  }
  options.new_session = true;
  auto child = process::spawn(options);
  if (!child) return fail(child.error().with_context("start the pod's monitor"));
  // It forks and leaves; what is reaped here is only the first of the two.
  if (::waitpid(child->pid, nullptr, 0) < 0 && errno != ECHILD)
    return fail(Status::from_errno("wait for the monitor's start"));
  return ours;
}

Result<void> MonitorClient::write(protocol::Type type, uint32_t id, const std::string& payload,
                                  const std::vector<int>& fds) {
  if (payload.size() > protocol::kMaxFrame)
    return fail(Status::bad_request("the container's configuration is larger than 16 MiB"));
  if (fds.size() > protocol::kMaxFds) return fail(Status::internal("too many descriptors for one request"));
  protocol::Header header{static_cast<uint32_t>(payload.size()), static_cast<uint16_t>(type),
                          static_cast<uint16_t>(fds.size()), id};
  std::string frame(reinterpret_cast<const char*>(&header), sizeof header);
  frame += payload;
  std::string control(CMSG_SPACE(sizeof(int) * fds.size()), 0);
  std::lock_guard lock(write_mutex_);
  for (size_t sent = 0; sent < frame.size();) {
    iovec io{frame.data() + sent, frame.size() - sent};
    msghdr message{};
    message.msg_iov = &io;
    message.msg_iovlen = 1;
    if (sent == 0 && !fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
    }
    ssize_t n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return fail(
          Status::unavailable(std::string("the pod's monitor does not take requests: ") + std::strerror(errno)));
    sent += static_cast<size_t>(n);
  }
  return {};
}

Result<void> MonitorClient::send(protocol::Type type, const std::string& payload) {
  return write(type, 0, payload, {});
}

Result<std::string> MonitorClient::exchange(protocol::Type type, const std::string& payload,
                                            const std::vector<int>& fds) {
  auto waiter = std::make_shared<Waiter>();
  uint32_t id;
  {
    std::lock_guard lock(mutex_);
    if (gone_) return fail(Status::unavailable("the pod's monitor is gone"));
    id = ++last_id_;
    waiters_[id] = waiter;
  }
  if (auto r = write(type, id, payload, fds); !r) {
    std::lock_guard lock(mutex_);
    waiters_.erase(id);
    return fail(r.error());
  }
  std::unique_lock lock(mutex_);
  bool answered = changed_.wait_for(lock, kPatience, [&] { return waiter->done || gone_; });
  waiters_.erase(id);
  if (waiter->done) return std::move(waiter->payload);
  if (!answered) return fail(Status::timeout("waiting for the pod's monitor"));
  return fail(Status::unavailable("the pod's monitor is gone"));
}

void MonitorClient::on_readable() {
  char buffer[16384];
  ssize_t n = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) in_.append(buffer, static_cast<size_t>(n));
  if (n <= 0 || !take_frames()) lost();
}

bool MonitorClient::take_frames() {
  size_t at = 0;
  bool good = true;
  while (good && in_.size() - at >= sizeof(protocol::Header)) {
    protocol::Header header;
    std::memcpy(&header, in_.data() + at, sizeof header);
    if (header.length > protocol::kMaxFrame) return false;
    if (in_.size() - at < sizeof header + header.length) break;
    std::string payload = in_.substr(at + sizeof header, header.length);
    at += sizeof header + header.length;
    if (static_cast<protocol::Type>(header.type) == protocol::Type::exited) {
      protocol::Exited exited;
      good = protocol::decode(payload, exited);
      if (good && watching_) callbacks_.exited(exited);
    } else {
      std::lock_guard lock(mutex_);
      if (auto it = waiters_.find(header.id); it != waiters_.end()) {
        it->second->done = true;
        it->second->payload = std::move(payload);
        changed_.notify_all();
      }
    }
  }
  in_.erase(0, at);
  return good;
}

void MonitorClient::lost() {
  if (!watching_) return;
  watching_ = false;
  auto self = shared_from_this();
  loop_.unwatch(socket_.get());
  {
    std::lock_guard lock(mutex_);
    gone_ = true;
  }
  changed_.notify_all();
  callbacks_.closed();
}

void MonitorClient::close() {
  {
    std::lock_guard lock(mutex_);
    gone_ = true;
  }
  changed_.notify_all();
  loop_.post([self = shared_from_this()] {
    if (!self->watching_) return;
    self->watching_ = false;
    self->loop_.unwatch(self->socket_.get());
  });
}

}  // namespace kcube::runtime
