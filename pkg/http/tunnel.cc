#include "pkg/http/tunnel.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace kcube::http {
namespace {

class SharedTunnel final : public Tunnel {
 public:
  explicit SharedTunnel(std::shared_ptr<SocketTunnel> tunnel) : tunnel_(std::move(tunnel)) {}
  ~SharedTunnel() override { tunnel_->close(); }
  Result<size_t> read(char* buffer, size_t size) override { return tunnel_->read(buffer, size); }
  Result<void> write(std::string_view bytes) override { return tunnel_->write(bytes); }
  void close_write() override { tunnel_->close_write(); }
  void close() override { tunnel_->close(); }

 private:
  std::shared_ptr<SocketTunnel> tunnel_;
};

}  // namespace

SocketTunnel::SocketTunnel(std::unique_ptr<Transport> transport, std::string leftover)
    : transport_(std::move(transport)), leftover_(std::move(leftover)) {}

SocketTunnel::~SocketTunnel() { close(); }

Result<void> SocketTunnel::wait(short events) {
  pollfd descriptor{transport_->fd(), events, 0};
  while (::poll(&descriptor, 1, -1) < 0)
    if (errno != EINTR) return fail(Status::from_errno("poll"));
  return {};
}

Result<size_t> SocketTunnel::read(char* buffer, size_t size) {
  if (!leftover_.empty()) {
    size_t n = std::min(size, leftover_.size());
    std::memcpy(buffer, leftover_.data(), n);
    leftover_.erase(0, n);
    return n;
  }
  while (!closed_) {
    size_t n = 0;
    Io io;
    bool wants_write;
    {
      std::lock_guard lock(transport_mutex_);
      io = transport_->read(buffer, size, &n);
      wants_write = transport_->wants_write();
    }
    if (io == Io::ok) return n;
    if (io == Io::end) return size_t{0};
    if (io == Io::error) return fail(Status::unavailable("connection reset by peer"));
    if (auto ok = wait(wants_write ? POLLOUT : POLLIN); !ok) return fail(ok.error());
    std::lock_guard lock(transport_mutex_);
    transport_->mark_readable(true);
  }
  return size_t{0};
}

Result<void> SocketTunnel::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (closed_) return fail(Status::unavailable("connection closed"));
    size_t n = 0;
    Io io;
    bool wants_write;
    {
      std::lock_guard lock(transport_mutex_);
      iovec piece{const_cast<char*>(bytes.data()), std::min<size_t>(bytes.size(), 16384)};
      io = transport_->write(&piece, 1, &n);
      wants_write = transport_->wants_write();
      if (io == Io::again && !wants_write) transport_->mark_readable(true);
    }
    bytes.remove_prefix(n);
    if (io == Io::ok) continue;
    if (io != Io::again) return fail(Status::unavailable("connection closed by peer"));
    if (auto ok = wait(wants_write ? POLLOUT : POLLIN); !ok) return ok;
  }
  return {};
}

void SocketTunnel::close_write() {
  std::lock_guard lock(transport_mutex_);
  if (!closed_) transport_->shutdown_write();
}

void SocketTunnel::close() {
  if (closed_.exchange(true)) return;
  std::lock_guard lock(transport_mutex_);
  transport_->shutdown_write();
  ::shutdown(transport_->fd(), SHUT_RDWR);  // wakes both polls
}

std::unique_ptr<Tunnel> share_tunnel(std::shared_ptr<SocketTunnel> tunnel) {
  return std::make_unique<SharedTunnel>(std::move(tunnel));
}

}  // namespace kcube::http
