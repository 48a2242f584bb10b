// Connection: frames and descriptors between the monitor and one kcube process. Source: unix(7), SCM_RIGHTS.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "runtime/monitor/loop.h"
#include "runtime/protocol.h"

namespace kcube::monitor {

class Connection;

class RequestHandler {
 public:
  virtual void on_request(Connection& connection, runtime::protocol::Type type, uint32_t id, const std::string& payload,
                          std::vector<Fd> fds) = 0;
  virtual void on_closed(Connection& connection) = 0;

 protected:
  ~RequestHandler() = default;
};

class Connection final : public Watcher {
 public:
  Connection(Loop& loop, Fd socket, RequestHandler& handler, uint64_t serial);
  ~Connection();
  void on_ready(int fd, uint32_t events) override;
  void send(runtime::protocol::Type type, uint32_t id, const std::string& payload);

  const uint64_t serial;    // told apart from later connections by it
  bool subscribed = false;  // wants events

 private:
  bool receive();   // false when the peer is gone
  bool dispatch();  // false when it broke the protocol
  void write_out();

  Loop& loop_;
  Fd socket_;
  RequestHandler& handler_;
  std::string in_, out_;
  std::deque<Fd> fds_;
};

}  // namespace kcube::monitor
