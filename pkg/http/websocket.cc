#include "pkg/http/websocket.h"

#include <openssl/sha.h>

#include <cstring>

#include "pkg/base/strings.h"
#include "pkg/http/response.h"

namespace kcube::http {
namespace {

constexpr uint64_t kMaxMessage = 16 << 20;
constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

bool lists(const Request& request, std::string_view header, std::string_view token) {
  for (auto value : request.headers.all(header))
    for (auto part : split(value, ','))
      if (to_lower(trim(part)) == token) return true;
  return false;
}

std::string accept_key(std::string_view key) {
  std::string text = std::string(key) + std::string(kGuid);
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return base64_encode({reinterpret_cast<char*>(digest), sizeof digest});
}

}  // namespace

bool wants_websocket(const Request& request) {
  return lists(request, "Connection", "upgrade") && lists(request, "Upgrade", "websocket");
}

std::vector<std::string> offered_subprotocols(const Request& request) {
  std::vector<std::string> offered;
  for (auto value : request.headers.all("Sec-WebSocket-Protocol"))
    for (auto part : split(value, ','))
      if (!trim(part).empty()) offered.emplace_back(trim(part));
  return offered;
}

Result<std::unique_ptr<Tunnel>> accept_websocket(const Request& request, std::unique_ptr<Responder> responder,
                                                 const std::string& subprotocol) {
  auto key = request.headers.get("Sec-WebSocket-Key");
  auto nonce = base64_decode(key);
  if (request.method != "GET" || request.headers.get("Sec-WebSocket-Version") != "13" || !nonce ||
      nonce->size() != 16) {
    Status status = Status::bad_request("unable to upgrade: malformed WebSocket handshake");
    Headers headers;
    headers.add("Content-Type", "application/json");
    headers.add("Sec-WebSocket-Version", "13");
    responder->respond(400, std::move(headers), status_json(status));
    return fail(std::move(status));
  }
  Headers headers;
  headers.add("Upgrade", "websocket");
  headers.add("Connection", "Upgrade");
  headers.add("Sec-WebSocket-Accept", accept_key(key));
  if (!subprotocol.empty()) headers.add("Sec-WebSocket-Protocol", subprotocol);
  return responder->upgrade(std::move(headers));
}

Result<bool> WebSocket::read_exactly(char* to, size_t size) {
  while (size > 0) {
    if (in_start_ == in_.size()) {
      in_.resize(16384);
      in_start_ = 0;
      auto n = tunnel_->read(in_.data(), in_.size());
      in_.resize(n ? *n : 0);
      if (!n) return fail(n.error());
      if (*n == 0) return false;
    }
    size_t take = std::min(size, in_.size() - in_start_);
    std::memcpy(to, in_.data() + in_start_, take);
    in_start_ += take;
    to += take;
    size -= take;
  }
  return true;
}

Status WebSocket::violation(uint16_t code, const char* what) {
  send_close(code, what);
  return Status::bad_request(std::string("WebSocket: ") + what);
}

Result<bool> WebSocket::read_head(FrameHead& head) {
  unsigned char bytes[8];
  auto* raw = reinterpret_cast<char*>(bytes);
  if (auto more = read_exactly(raw, 2); !more || !*more) return more;
  head.fin = bytes[0] & 0x80;
  head.opcode = static_cast<Opcode>(bytes[0] & 0x0f);
  head.control = bytes[0] & 0x08;
  bool masked = bytes[1] & 0x80;
  head.size = bytes[1] & 0x7f;
  if (bytes[0] & 0x70) return fail(violation(1002, "reserved bits are set"));
  if (!masked) return fail(violation(1002, "frames of clients must be masked"));
  if (head.control && (!head.fin || head.size > 125)) return fail(violation(1002, "malformed control frame"));
  if (head.size >= 126) {
    size_t wide = head.size == 126 ? 2 : 8;
    if (auto more = read_exactly(raw, wide); !more || !*more) return more;
    head.size = 0;
    for (size_t i = 0; i < wide; ++i) head.size = head.size << 8 | bytes[i];
  }
  return read_exactly(head.mask, 4);
}

// Appends the unmasked payload. It grows as bytes come, so that a length alone costs no memory.
Result<bool> WebSocket::read_payload(const FrameHead& head, std::string& to) {
  if (head.size > kMaxMessage || to.size() + head.size > kMaxMessage) return fail(violation(1009, "message too big"));
  size_t start = to.size(), left = head.size;
  while (left > 0) {
    size_t piece = std::min<size_t>(left, 65536), at = to.size();
    to.resize(at + piece);
    if (auto more = read_exactly(to.data() + at, piece); !more || !*more) return more;
    left -= piece;
  }
  for (size_t i = 0; i < head.size; ++i) to[start + i] = static_cast<char>(to[start + i] ^ head.mask[i & 3]);
  return true;
}

Result<bool> WebSocket::answer_control(const FrameHead& head) {
  std::string payload;
  if (auto more = read_payload(head, payload); !more || !*more) return more;
  switch (head.opcode) {
    case Opcode::ping: (void)write(Opcode::pong, payload); return true;
    case Opcode::pong: return true;
    case Opcode::close: send_close(1000); return false;
    default: return fail(violation(1002, "unknown opcode"));
  }
}

Result<WebSocket::Message> WebSocket::read() {
  Message message;
  bool begun = false;
  while (true) {
    FrameHead head;
    auto more = read_head(head);
    if (more && *more && head.control) {
      more = answer_control(head);
      if (more && *more) continue;
    }
    if (!more) return fail(more.error());
    if (!*more) return Message{Opcode::close, {}};
    bool continues = head.opcode == Opcode::continuation;
    if (!continues && head.opcode != Opcode::text && head.opcode != Opcode::binary)
      return fail(violation(1002, "unknown opcode"));
    if (continues != begun) return fail(violation(1002, "fragments out of order"));
    if (!begun) message.opcode = head.opcode;
    begun = true;
    more = read_payload(head, message.payload);
    if (!more) return fail(more.error());
    if (!*more) return Message{Opcode::close, {}};
    if (head.fin) return message;
  }
}

Result<void> WebSocket::write(Opcode opcode, std::string_view first, std::string_view rest) {
  size_t size = first.size() + rest.size();
  std::string frame;
  frame.reserve(size + 10);
  frame.push_back(static_cast<char>(0x80 | static_cast<uint8_t>(opcode)));
  if (size < 126) {
    frame.push_back(static_cast<char>(size));
  } else {
    int wide = size < 65536 ? 2 : 8;
    frame.push_back(static_cast<char>(wide == 2 ? 126 : 127));
    for (int i = wide - 1; i >= 0; --i) frame.push_back(static_cast<char>(size >> (8 * i)));
  }
  frame.append(first).append(rest);
  std::lock_guard lock(write_mutex_);
  if (closed_) return fail(Status::unavailable("the WebSocket is closed"));
  return tunnel_->write(frame);
}

void WebSocket::send_close(uint16_t code, std::string_view reason) {
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code)};
  (void)write(Opcode::close, payload, reason.substr(0, 100));
  std::lock_guard lock(write_mutex_);
  closed_ = true;
}

namespace {

class WebSocketTunnel final : public Tunnel {
 public:
  explicit WebSocketTunnel(std::unique_ptr<WebSocket> socket) : socket_(std::move(socket)) {}
  Result<size_t> read(char* buffer, size_t size) override {
    while (start_ == message_.size()) {
      auto message = socket_->read();
      if (!message) return fail(message.error());
      if (message->opcode == WebSocket::Opcode::close) return size_t{0};
      message_ = std::move(message->payload);
      start_ = 0;
    }
    size_t n = std::min(size, message_.size() - start_);
    std::memcpy(buffer, message_.data() + start_, n);
    start_ += n;
    return n;
  }
  Result<void> write(std::string_view bytes) override { return socket_->write(WebSocket::Opcode::binary, bytes); }
  void close_write() override {
    socket_->send_close(1000);
    socket_->tunnel().close_write();
  }
  void close() override { socket_->tunnel().close(); }

 private:
  std::unique_ptr<WebSocket> socket_;
  std::string message_;
  size_t start_ = 0;
};

}  // namespace

std::unique_ptr<Tunnel> tunnel_in_websocket(std::unique_ptr<WebSocket> socket) {
  return std::make_unique<WebSocketTunnel>(std::move(socket));
}

}  // namespace kcube::http
