// Port-forward over SPDY, bare or inside a WebSocket: pairs of an error stream and a data stream, a pair a connection.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "pkg/base/strings.h"
#include "pkg/http/spdy.h"
#include "pkg/http/streams_internal.h"
#include "pkg/http/websocket.h"

namespace kcube::http {
namespace {

constexpr std::string_view kProtocol = "portforward.k8s.io";
constexpr std::string_view kTunnelled = "SPDY/3.1+portforward.k8s.io";
constexpr size_t kMaxConnections = 1024;

using StreamPtr = std::shared_ptr<SpdyStream>;

struct Pair {
  StreamPtr error, data;
};

class Forwarder {
 public:
  Forwarder(SpdySession& session, Connect connect) : session_(session), connect_(std::move(connect)) {}

  // Until the client leaves; then waits for the connections to end.
  void run() {
    while (auto stream = session_.accept(std::chrono::milliseconds(0))) take(std::move(stream));
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return running_ == 0; });
  }

 private:
  // Old clients name no request: there the data stream follows its error stream.
  static std::string request_of(const SpdyStream& stream, bool error) {
    auto id = stream.headers().get("requestid");
    if (!id.empty()) return std::string(id);
    return "#" + std::to_string(error ? stream.id() : stream.id() - 2);
  }

  void take(StreamPtr stream) {
    auto type = stream->headers().get("streamtype");
    auto port = parse_int<uint16_t>(stream->headers().get("port"));
    bool error = type == "error";
    if ((!error && type != "data") || !port || *port == 0) return stream->reset();
    std::string request = request_of(*stream, error);
    Pair& pair = waiting_[request];
    StreamPtr& place = error ? pair.error : pair.data;
    if (place || waiting_.size() > kMaxConnections) return stream->reset();
    place = std::move(stream);
    if (!pair.error || !pair.data) return;
    start(std::move(pair), *port);
    waiting_.erase(request);
  }

  void start(Pair pair, uint16_t port) {
    {
      std::lock_guard lock(mutex_);
      ++running_;
    }
    std::thread([this, pair = std::move(pair), port] {
      auto result = connect_(port, *pair.data);
      if (!result) (void)pair.error->write(result.error().message());
      pair.error->close_write();
      pair.data->close_write();
      session_.forget(*pair.error);
      session_.forget(*pair.data);
      std::lock_guard lock(mutex_);
      --running_;
      ended_.notify_all();
    }).detach();
  }

  SpdySession& session_;
  const Connect connect_;
  std::map<std::string, Pair> waiting_;
  std::mutex mutex_;
  std::condition_variable ended_;
  size_t running_ = 0;
};

Result<void> forward(std::unique_ptr<Tunnel> tunnel, Connect connect) {
  SpdySession session(std::move(tunnel));
  Forwarder(session, std::move(connect)).run();
  return {};
}

Result<void> forward_tunnelled(const Request& request, std::unique_ptr<Responder> responder, Connect connect) {
  auto tunnel = accept_websocket(request, std::move(responder), std::string(kTunnelled));
  if (!tunnel) return fail(tunnel.error());
  return forward(tunnel_in_websocket(std::make_unique<WebSocket>(std::move(*tunnel))), std::move(connect));
}

bool has(const std::vector<std::string>& offered, std::string_view name) {
  return std::find(offered.begin(), offered.end(), name) != offered.end();
}

}  // namespace

Result<void> serve_port_forward(const Request& request, std::unique_ptr<Responder> responder, Connect connect) {
  if (wants_websocket(request)) {
    if (has(offered_subprotocols(request), kTunnelled))
      return forward_tunnelled(request, std::move(responder), std::move(connect));
    return websocket_port_forward(request, std::move(responder), std::move(connect));
  }
  if (!wants_spdy(request)) return refuse_upgrade(*responder, Status(400, "BadRequest", "Upgrade request required"));
  auto offered = offered_stream_protocols(request);
  if (!offered.empty() && !has(offered, kProtocol)) {
    Headers headers;
    headers.add("X-Accept-Stream-Protocol-Version", std::string(kProtocol));
    return refuse_upgrade(*responder,
                          Status(403, "Forbidden",
                                 "unable to upgrade: unable to negotiate protocol: client supports [" +
                                     join(offered, " ") + "], server accepts [" + std::string(kProtocol) + "]"),
                          std::move(headers));
  }
  auto tunnel = accept_spdy(std::move(responder), std::string(kProtocol));
  if (!tunnel) return fail(tunnel.error());
  return forward(std::move(*tunnel), std::move(connect));
}

}  // namespace kcube::http
