#include "runtime/monitor/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kcube::monitor {

namespace protocol = runtime::protocol;

Connection::Connection(Loop& loop, Fd socket, RequestHandler& handler, uint64_t number)
    : serial(number), loop_(loop), socket_(std::move(socket)), handler_(handler) {
  loop_.add(socket_.get(), EPOLLIN, this);
}

Connection::~Connection() { loop_.remove(socket_.get()); }

void Connection::on_ready(int, uint32_t events) {
  if (events & EPOLLOUT) write_out();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  if (!receive() || !dispatch()) handler_.on_closed(*this);
}

bool Connection::receive() {
  char buffer[16384];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 253)];
  iovec io{buffer, sizeof buffer};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      fds_.emplace_back(fd);
    }
  }
  if (n == 0) return false;
  in_.append(buffer, static_cast<size_t>(n));
  return true;
}

bool Connection::dispatch() {
  while (in_.size() >= sizeof(protocol::Header)) {
    protocol::Header header;
    std::memcpy(&header, in_.data(), sizeof header);
    if (header.length > protocol::kMaxFrame) return false;
    if (in_.size() < sizeof header + header.length) return true;
    if (fds_.size() < header.fds) return false;
    std::string payload = in_.substr(sizeof header, header.length);
    in_.erase(0, sizeof header + header.length);
    if (in_.empty()) in_.shrink_to_fit();
    std::vector<Fd> fds;
    for (int i = 0; i < header.fds; ++i) {
      fds.push_back(std::move(fds_.front()));
      fds_.pop_front();
    }
    handler_.on_request(*this, static_cast<protocol::Type>(header.type), header.id, payload, std::move(fds));
  }
  return true;
}

void Connection::send(protocol::Type type, uint32_t id, const std::string& payload) {
  protocol::Header header{static_cast<uint32_t>(payload.size()), static_cast<uint16_t>(type), 0, id};
  out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  out_.append(payload);
  write_out();
}

void Connection::write_out() {
  while (!out_.empty()) {
    ssize_t n = ::send(socket_.get(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) out_.clear();  // the peer is gone; its hang-up is on the way
    if (n <= 0) break;
    out_.erase(0, static_cast<size_t>(n));
  }
  loop_.modify(socket_.get(), out_.empty() ? uint32_t{EPOLLIN} : uint32_t{EPOLLIN | EPOLLOUT}, this);
}

}  // namespace kcube::monitor
