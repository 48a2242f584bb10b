#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "pkg/base/strings.h"
#include "pkg/http/streams_internal.h"
#include "pkg/http/websocket.h"

namespace kcube::http {
namespace {

constexpr std::string_view kBinary = "binary.k8s.io", kBase64 = "base64.binary.k8s.io";

class MessageStream final : public Channel {
 public:
  MessageStream(std::unique_ptr<Tunnel> tunnel, bool text, bool base64)
      : socket_(std::move(tunnel)), text_(text), base64_(base64), reader_([this] { watch_client(); }) {}
  ~MessageStream() override {
    {
      // Closing under bytes on their way would reset the connection, and the client might lose the last messages.
      std::unique_lock lock(mutex_);
      gone_changed_.wait_for(lock, std::chrono::seconds(closing_ ? 5 : 0), [&] { return gone_; });
    }
    socket_.tunnel().close();
    reader_.join();
  }
  Result<size_t> read(char*, size_t) override { return size_t{0}; }
  Result<void> write(std::string_view message) override {
    auto opcode = text_ || base64_ ? WebSocket::Opcode::text : WebSocket::Opcode::binary;
    return base64_ ? socket_.write(opcode, base64_encode(message)) : socket_.write(opcode, message);
  }
  void close_write() override {
    closing_ = true;
    socket_.send_close(1000);
    socket_.tunnel().close_write();
  }
  void reset() override { socket_.tunnel().close(); }

 private:
  // Answers pings and sees the end; what the client says otherwise has no meaning.
  void watch_client() {
    while (true) {
      auto message = socket_.read();
      if (message && message->opcode != WebSocket::Opcode::close) continue;
      break;
    }
    socket_.tunnel().close();
    std::lock_guard lock(mutex_);
    gone_ = true;
    gone_changed_.notify_all();
  }

  WebSocket socket_;
  const bool text_, base64_;
  std::atomic<bool> closing_{false};
  std::mutex mutex_;
  std::condition_variable gone_changed_;
  bool gone_ = false;
  std::thread reader_;
};

}  // namespace

Result<std::unique_ptr<Channel>> accept_message_stream(const Request& request, std::unique_ptr<Responder> responder,
                                                       bool text) {
  auto offered = offered_subprotocols(request);
  std::string chosen;
  for (const auto& name : offered)
    if (chosen.empty() && (name == kBinary || name == kBase64)) chosen = name;
  if (!offered.empty() && chosen.empty())
    return refuse_upgrade(*responder,
                          Status::bad_request("unable to upgrade: none of the WebSocket subprotocols offered (" +
                                              join(offered, ", ") + ") is supported"));
  auto tunnel = accept_websocket(request, std::move(responder), chosen);
  if (!tunnel) return fail(tunnel.error());
  return std::make_unique<MessageStream>(std::move(*tunnel), text && chosen.empty(), chosen == kBase64);
}

}  // namespace kcube::http
