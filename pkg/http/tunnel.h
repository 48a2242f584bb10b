// The blocking tunnel over a non-blocking transport: its own poll(2), TLS calls under a lock.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "pkg/http/server.h"
#include "pkg/http/transport.h"

namespace kcube::http {

class SocketTunnel final : public Tunnel {
 public:
  // `leftover` was read already and comes first.
  SocketTunnel(std::unique_ptr<Transport> transport, std::string leftover);
  ~SocketTunnel() override;
  Result<size_t> read(char* buffer, size_t size) override;
  Result<void> write(std::string_view bytes) override;
  void close_write() override;
  void close() override;
  int fd() const { return transport_->fd(); }

 private:
  Result<void> wait(short events);

  std::unique_ptr<Transport> transport_;
  std::mutex transport_mutex_;
  std::string leftover_;
  std::atomic<bool> closed_{false};
};

// A Tunnel for a caller while others (the reactor) may close it too.
std::unique_ptr<Tunnel> share_tunnel(std::shared_ptr<SocketTunnel> tunnel);

}  // namespace kcube::http
