// The server's side of a WebSocket (RFC 6455) over a tunnel. One reader; any thread may write.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pkg/http/server.h"

namespace kcube::http {

bool wants_websocket(const Request& request);
// The subprotocols that the client offers, in its order.
std::vector<std::string> offered_subprotocols(const Request& request);
// Sends 101 with `subprotocol` (empty: none), or 400 when the handshake is malformed.
Result<std::unique_ptr<Tunnel>> accept_websocket(const Request& request, std::unique_ptr<Responder> responder,
                                                 const std::string& subprotocol);

class WebSocket {
 public:
  enum class Opcode : uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };
  struct Message {
    Opcode opcode = Opcode::close;  // text, binary or close
    std::string payload;
  };
  explicit WebSocket(std::unique_ptr<Tunnel> tunnel) : tunnel_(std::move(tunnel)) {}

  // The next whole message; pings are answered on the way. `close` at the end of the connection too. Fails (having told
  // the client the close code) on what the protocol forbids and on messages over 16 MiB.
  Result<Message> read();
  Result<void> write(Opcode opcode, std::string_view first, std::string_view rest = {});
  // Sends a close frame once.
  void send_close(uint16_t code, std::string_view reason = {});
  Tunnel& tunnel() { return *tunnel_; }

 private:
  struct FrameHead {
    bool fin = false, control = false;
    Opcode opcode = Opcode::close;
    uint64_t size = 0;
    char mask[4] = {};
  };
  Result<bool> read_exactly(char* to, size_t size);  // false at the end
  Result<bool> read_head(FrameHead& head);
  Result<bool> read_payload(const FrameHead& head, std::string& to);
  Result<bool> answer_control(const FrameHead& head);
  Status violation(uint16_t code, const char* what);

  std::unique_ptr<Tunnel> tunnel_;
  std::string in_;
  size_t in_start_ = 0;
  std::mutex write_mutex_;
  bool closed_ = false;  // a close frame went out; under write_mutex_
};

// A tunnel whose bytes travel in binary messages of `socket`.
std::unique_ptr<Tunnel> tunnel_in_websocket(std::unique_ptr<WebSocket> socket);

}  // namespace kcube::http
