// The server's sockets: UDP and TCP on every address, on one event loop. Loop thread only, but for open().
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pkg/base/event_loop.h"
#include "pkg/base/fd.h"
#include "pkg/dns/sockets.h"

namespace kcube::dns {

// Sends an answer; later than the query's handler is fine. Loop thread, while the listener lives.
using Respond = std::function<void(std::string answer)>;
using Handler = std::function<void(std::string_view query, bool tcp, Respond respond)>;

class Listener {
 public:
  Listener(EventLoop& loop, Handler handler) : loop_(loop), handler_(std::move(handler)) {}
  ~Listener();
  // Binds and watches; before the loop runs.
  Result<void> open(const std::string& address, uint16_t port);

 private:
  struct Connection {
    Fd fd;
    std::string in, out;
    size_t unanswered = 0;
    TimerId idle = 0;
    bool serving = false;
    bool half_closed = false;  // the client sends no more but waits for answers
  };
  Result<Fd> bind(const SocketAddress& address, int kind);
  void on_datagrams(int fd);
  void on_accept(int fd);
  void on_connection(uint64_t id, uint32_t events);
  bool read(uint64_t id);
  bool serve(uint64_t id);
  void answered(uint64_t id, const std::string& answer);
  void flush(uint64_t id);
  void update(uint64_t id);
  void touch(uint64_t id);
  void drop(uint64_t id);

  EventLoop& loop_;
  Handler handler_;
  std::vector<Fd> sockets_;
  std::map<uint64_t, Connection> connections_;
  uint64_t next_id_ = 1;
};

}  // namespace kcube::dns
