#include "pkg/dns/listener.h"

#include <cerrno>

#include "pkg/dns/message.h"

namespace kcube::dns {
namespace {

constexpr size_t kMaxConnections = 512, kMaxUnanswered = 64, kMaxOut = 1 << 20;
constexpr int kDatagramsAtOnce = 64, kBacklog = 128, kReceiveBuffer = 1 << 20;
constexpr size_t kMaxQuery = 4096;
constexpr Duration kIdle = std::chrono::seconds(10);  // RFC 7766 section 6.2.3

}  // namespace

Listener::~Listener() {
  while (!connections_.empty()) drop(connections_.begin()->first);
  for (const Fd& fd : sockets_) loop_.unwatch(fd.get());
}

Result<Fd> Listener::bind(const SocketAddress& address, int kind) {
  Fd fd(::socket(address.family(), kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail(Status::from_errno("socket"));
  int one = 1, buffer = kReceiveBuffer;
  if (kind == SOCK_STREAM)
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  else
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  if (address.family() == AF_INET6) (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (::bind(fd.get(), address.get(), address.size) != 0) return fail(Status::from_errno("bind"));
  if (kind == SOCK_STREAM && ::listen(fd.get(), kBacklog) != 0) return fail(Status::from_errno("listen"));
  return fd;
}

Result<void> Listener::open(const std::string& address, uint16_t port) {
  auto at = SocketAddress::make(address, port);
  if (!at) return fail(at.error());
  for (int kind : {SOCK_DGRAM, SOCK_STREAM}) {
    auto fd = bind(*at, kind);
    if (!fd)
      return fail(fd.error().with_context("DNS on " + address + ":" + std::to_string(port) +
                                          (kind == SOCK_STREAM ? "/tcp" : "/udp")));
    int number = fd->get();
    sockets_.push_back(std::move(*fd));
    auto callback = [this, number, kind](uint32_t) { kind == SOCK_STREAM ? on_accept(number) : on_datagrams(number); };
    if (auto r = loop_.watch(number, EPOLLIN, callback); !r) return r;
  }
  return {};
}

void Listener::on_datagrams(int fd) {
  char buffer[kMaxQuery];
  for (int i = 0; i < kDatagramsAtOnce; ++i) {
    SocketAddress from;
    ssize_t n = ::recvfrom(fd, buffer, sizeof buffer, 0, from.get(), &from.size);
    // Errors of former answers (a client that is gone) are reported here once and mean nothing to the next query.
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n <= 0) continue;
    handler_({buffer, static_cast<size_t>(n)}, false, [fd, from](const std::string& answer) {
      (void)::sendto(fd, answer.data(), answer.size(), MSG_NOSIGNAL, from.get(), from.size);
    });
  }
}

void Listener::on_accept(int fd) {
  while (true) {
    Fd peer(::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!peer) return;
    // The oldest goes: it is the idlest, or holds on for too long.
    if (connections_.size() >= kMaxConnections) drop(connections_.begin()->first);
    uint64_t id = next_id_++;
    int number = peer.get();
    connections_[id].fd = std::move(peer);
    if (!loop_.watch(number, EPOLLIN, [this, id](uint32_t events) { on_connection(id, events); })) {
      connections_.erase(id);
      continue;
    }
    touch(id);
  }
}

void Listener::touch(uint64_t id) {
  Connection& c = connections_.at(id);
  if (c.idle != 0) loop_.cancel(c.idle);
  c.idle = loop_.schedule(kIdle, [this, id] {
    connections_.at(id).idle = 0;
    drop(id);
  });
}

void Listener::drop(uint64_t id) {
  auto it = connections_.find(id);
  if (it == connections_.end()) return;
  loop_.unwatch(it->second.fd.get());
  if (it->second.idle != 0) loop_.cancel(it->second.idle);
  connections_.erase(it);
}

void Listener::on_connection(uint64_t id, uint32_t events) {
  if (!connections_.contains(id)) return;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return drop(id);
  if ((events & EPOLLIN) != 0 && !read(id)) return;
  if (connections_.contains(id)) flush(id);
}

// False when the connection is gone.
bool Listener::read(uint64_t id) {
  Connection& c = connections_.at(id);
  char buffer[16384];
  ssize_t n = ::recv(c.fd.get(), buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < 0) {
    drop(id);
    return false;
  }
  if (n == 0)
    c.half_closed = true;
  else
    touch(id);
  c.in.append(buffer, static_cast<size_t>(n));
  return serve(id);
}

// Answers what has come whole, as far as the bound on questions under way allows. False when the connection is gone.
bool Listener::serve(uint64_t id) {
  connections_.at(id).serving = true;
  while (true) {
    auto it = connections_.find(id);
    if (it == connections_.end()) return false;
    std::string& in = it->second.in;
    size_t length = in.size() < 2 ? 0 : static_cast<size_t>(uint8_t(in[0])) << 8 | uint8_t(in[1]);
    if (in.size() < 2 + length || it->second.unanswered >= kMaxUnanswered) {
      it->second.serving = false;
      return true;
    }
    std::string query = in.substr(2, length);
    in.erase(0, 2 + length);
    ++it->second.unanswered;
    handler_(query, true, [this, id](const std::string& answer) { answered(id, answer); });
  }
}

void Listener::answered(uint64_t id, const std::string& answer) {
  auto it = connections_.find(id);
  if (it == connections_.end()) return;
  Connection& c = it->second;
  --c.unanswered;
  c.out += u16_bytes(static_cast<uint16_t>(answer.size())) + answer;
  // Inside of serve() the rest follows there.
  if (c.serving || serve(id)) flush(id);
}

void Listener::flush(uint64_t id) {
  Connection& c = connections_.at(id);
  while (!c.out.empty()) {
    ssize_t n = ::send(c.fd.get(), c.out.data(), c.out.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return drop(id);
    if (n < 0) break;
    c.out.erase(0, static_cast<size_t>(n));
  }
  if (c.out.size() > kMaxOut || (c.half_closed && c.out.empty() && c.unanswered == 0)) return drop(id);
  update(id);
}

// Reads only from who takes its answers.
void Listener::update(uint64_t id) {
  Connection& c = connections_.at(id);
  uint32_t events = (c.out.empty() ? 0u : uint32_t{EPOLLOUT}) |
                    (c.half_closed || c.unanswered >= kMaxUnanswered ? 0u : uint32_t{EPOLLIN});
  if (!loop_.modify(c.fd.get(), events)) drop(id);
}

}  // namespace kcube::dns
