// Port-forward over bare WebSocket channels: for the n-th `port` of the query, channel 2n is data and 2n+1 errors; both
// begin with the port as two bytes, low byte first.
#include <atomic>
#include <memory>
#include <thread>

#include "pkg/base/strings.h"
#include "pkg/http/inbox.h"
#include "pkg/http/streams_internal.h"
#include "pkg/http/websocket.h"

namespace kcube::http {
namespace {

constexpr std::string_view kPlain = "v4.channel.k8s.io", kBase64 = "v4.base64.channel.k8s.io";
constexpr size_t kMaxPorts = 100;  // channel numbers are one byte
constexpr size_t kPiece = 32768;

class PortChannel final : public Channel {
 public:
  PortChannel(WebSocket& socket, bool base64, uint8_t number) : socket_(socket), base64_(base64), number_(number) {}
  Result<size_t> read(char* buffer, size_t size) override { return inbox.read(buffer, size); }
  Result<void> write(std::string_view bytes) override {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kPiece))) {
      char number = static_cast<char>(base64_ ? '0' + number_ : number_);
      auto piece = bytes.substr(0, kPiece);
      auto ok = base64_ ? socket_.write(WebSocket::Opcode::text, {&number, 1}, base64_encode(piece))
                        : socket_.write(WebSocket::Opcode::binary, {&number, 1}, piece);
      if (!ok) return ok;
    }
    return {};
  }
  // There is no half of a channel: when the other side has said all, nobody waits for more from here.
  void close_write() override { inbox.finish(); }
  void reset() override { inbox.abort(); }
  Inbox inbox;

 private:
  WebSocket& socket_;
  const bool base64_;
  const uint8_t number_;
};

Result<std::vector<uint16_t>> ports_of(const Request& request) {
  std::vector<uint16_t> ports;
  for (auto value : request.query.all("port"))
    for (auto part : split(value, ',')) {
      auto port = parse_int<uint16_t>(part);
      if (!port || *port == 0)
        return fail(Status::bad_request("unable to parse \"" + std::string(part) + "\" as a port"));
      ports.push_back(*port);
    }
  if (ports.empty()) return fail(Status::bad_request("query parameter \"port\" is required"));
  if (ports.size() > kMaxPorts) return fail(Status::bad_request("too many ports"));
  return ports;
}

struct Port {
  std::unique_ptr<PortChannel> data, error;
  std::thread thread;
};

}  // namespace

Result<void> websocket_port_forward(const Request& request, std::unique_ptr<Responder> responder, Connect connect) {
  auto ports = ports_of(request);
  if (!ports) return refuse_upgrade(*responder, ports.error());
  auto offered = offered_subprotocols(request);
  std::string chosen;
  for (const auto& name : offered)
    if (chosen.empty() && (name == kPlain || name == kBase64)) chosen = name;
  if (!offered.empty() && chosen.empty())
    return refuse_upgrade(*responder, Status::bad_request("unable to upgrade: no WebSocket subprotocol in common"));
  auto tunnel = accept_websocket(request, std::move(responder), chosen);
  if (!tunnel) return fail(tunnel.error());

  WebSocket socket(std::move(*tunnel));
  bool base64 = chosen == kBase64;
  std::vector<Port> forwarded(ports->size());
  std::atomic<size_t> open = ports->size();
  for (size_t i = 0; i < ports->size(); ++i) {
    Port& one = forwarded[i];
    uint16_t port = (*ports)[i];
    one.data = std::make_unique<PortChannel>(socket, base64, static_cast<uint8_t>(2 * i));
    one.error = std::make_unique<PortChannel>(socket, base64, static_cast<uint8_t>(2 * i + 1));
    std::string prefix{static_cast<char>(port), static_cast<char>(port >> 8)};
    (void)one.data->write(prefix);
    (void)one.error->write(prefix);
    one.thread = std::thread([&one, &connect, &socket, &open, port] {
      if (auto result = connect(port, *one.data); !result) (void)one.error->write(result.error().message());
      if (--open == 0) socket.send_close(1000);
    });
  }
  while (true) {
    auto message = socket.read();
    if (!message || message->opcode == WebSocket::Opcode::close) break;
    if (message->payload.empty()) continue;
    auto number = static_cast<uint8_t>(message->payload[0]);
    if (base64) number = static_cast<uint8_t>(number - '0');
    if (number % 2 != 0 || number / 2U >= forwarded.size()) continue;
    std::string_view bytes = std::string_view(message->payload).substr(1);
    auto decoded = base64 ? base64_decode(bytes) : std::string(bytes);
    if (decoded) forwarded[number / 2U].data->inbox.push(*decoded);
  }
  socket.tunnel().close();
  for (auto& one : forwarded) {
    one.data->inbox.abort();
    one.thread.join();
  }
  return {};
}

}  // namespace kcube::http
