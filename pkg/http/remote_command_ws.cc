// exec and attach over WebSocket: one message, one piece of one channel; its first byte names the channel.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "pkg/base/strings.h"
#include "pkg/http/inbox.h"
#include "pkg/http/streams_internal.h"
#include "pkg/http/websocket.h"

namespace kcube::http {
namespace {

enum : uint8_t { kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4, kClose = 255 };

struct Protocol {
  std::string_view name;
  bool base64, status, close_signal;
};
constexpr Protocol kProtocols[] = {
    {"v5.channel.k8s.io", false, true, true},        {"v4.channel.k8s.io", false, true, false},
    {"v4.base64.channel.k8s.io", true, true, false}, {"v3.channel.k8s.io", false, false, false},
    {"v2.channel.k8s.io", false, false, false},      {"channel.k8s.io", false, false, false},
    {"base64.channel.k8s.io", true, false, false}};
constexpr Protocol kUnnamed = {"", false, false, false};
constexpr size_t kPiece = 32768;

class Output final : public Channel {
 public:
  Output(WebSocket& socket, const Protocol& protocol, uint8_t number)
      : socket_(socket), protocol_(protocol), number_(number) {}
  Result<size_t> read(char*, size_t) override { return size_t{0}; }
  Result<void> write(std::string_view bytes) override {
    do {
      auto piece = bytes.substr(0, kPiece);
      if (auto ok = send(piece); !ok) return ok;
      bytes.remove_prefix(piece.size());
    } while (!bytes.empty());
    return {};
  }
  void close_write() override {}
  void reset() override {}

 private:
  Result<void> send(std::string_view piece) {
    char number = static_cast<char>(protocol_.base64 ? '0' + number_ : number_);
    if (protocol_.base64) return socket_.write(WebSocket::Opcode::text, {&number, 1}, base64_encode(piece));
    return socket_.write(WebSocket::Opcode::binary, {&number, 1}, piece);
  }
  WebSocket& socket_;
  const Protocol& protocol_;
  const uint8_t number_;
};

class Input final : public Channel {
 public:
  Result<size_t> read(char* buffer, size_t size) override { return inbox.read(buffer, size); }
  Result<void> write(std::string_view) override { return fail(Status::bad_request("stdin is read-only")); }
  void close_write() override {}
  void reset() override { inbox.abort(); }
  Inbox inbox;
};

class WebSocketCommand final : public RemoteCommand {
 public:
  WebSocketCommand(std::unique_ptr<Tunnel> tunnel, const Protocol& protocol, const RemoteCommandOptions& options)
      : socket_(std::move(tunnel)), protocol_(protocol), options_(options) {
    // An empty piece tells browsers that the command is connected. kubectl, which speaks v5, asks nothing of the kind;
    // that of 1.32 reads before it has made its streams, and complains on standard error of a piece that is faster.
    Channel& first = options_.stdout ? stdout_ : options_.stderr ? stderr_ : error_;
    if (!protocol_.close_signal) (void)first.write({});
    reader_ = std::thread([this] { run(); });
  }
  ~WebSocketCommand() override {
    socket_.tunnel().close();
    stdin_.inbox.abort();
    reader_.join();
  }
  Channel* stdin() override { return options_.stdin ? &stdin_ : nullptr; }
  Channel* stdout() override { return options_.stdout ? &stdout_ : nullptr; }
  Channel* stderr() override { return options_.stderr && !options_.tty ? &stderr_ : nullptr; }

  void on_resize(std::function<void(uint16_t, uint16_t)> callback) override {
    std::lock_guard lock(mutex_);
    on_resize_ = std::move(callback);
    if (width_ > 0 && on_resize_) on_resize_(width_, height_);  // it may have come before
  }
  void on_gone(std::function<void()> callback) override {
    {
      std::lock_guard lock(mutex_);
      if (!gone_) {
        on_gone_ = std::move(callback);
        return;
      }
    }
    callback();
  }
  void finish(const std::string& status_json) override {
    std::string outcome = protocol_.status ? status_json : plain_outcome(status_json);
    if (!outcome.empty()) (void)error_.write(outcome);
    socket_.send_close(1000);
    socket_.tunnel().close_write();
    stdin_.inbox.abort();
    // Closing under bytes on their way would reset the connection, and the client might lose the status.
    std::unique_lock lock(mutex_);
    gone_changed_.wait_for(lock, std::chrono::seconds(5), [&] { return gone_; });
    lock.unlock();
    socket_.tunnel().close();
  }

 private:
  void run() {
    while (true) {
      auto message = socket_.read();
      if (!message || message->opcode == WebSocket::Opcode::close) break;
      take(message->payload);
    }
    stdin_.inbox.abort();
    std::function<void()> callback;
    {
      std::lock_guard lock(mutex_);
      gone_ = true;
      callback = std::exchange(on_gone_, nullptr);
      gone_changed_.notify_all();
    }
    if (callback) callback();
  }

  void take(std::string_view message) {
    if (message.empty()) return;
    auto number = static_cast<uint8_t>(message[0]);
    message.remove_prefix(1);
    std::string decoded;
    if (protocol_.base64) {
      auto bytes = base64_decode(message);
      if (!bytes) return;
      decoded = std::move(*bytes);
      message = decoded;
      number = static_cast<uint8_t>(number - '0');
    }
    if (number == kClose && protocol_.close_signal && message.size() == 1 && message[0] == kStdin)
      stdin_.inbox.finish();
    if (number == kStdin && options_.stdin) stdin_.inbox.push(message);
    if (number == kResize) resize_.feed(message);
  }

  void resized(uint16_t width, uint16_t height) {
    std::lock_guard lock(mutex_);
    width_ = width;
    height_ = height;
    if (on_resize_) on_resize_(width, height);
  }

  WebSocket socket_;
  const Protocol& protocol_;
  const RemoteCommandOptions options_;
  Input stdin_;
  Output stdout_{socket_, protocol_, kStdout}, stderr_{socket_, protocol_, kStderr}, error_{socket_, protocol_, kError};
  ResizeReader resize_{[this](uint16_t width, uint16_t height) { resized(width, height); }};
  std::mutex mutex_;
  std::condition_variable gone_changed_;
  std::function<void(uint16_t, uint16_t)> on_resize_;
  std::function<void()> on_gone_;
  uint16_t width_ = 0, height_ = 0;
  bool gone_ = false;
  std::thread reader_;
};

// The first that the client offers and we speak; no offer at all means plain channels.
const Protocol* choose(const std::vector<std::string>& offered) {
  for (const auto& name : offered)
    for (const auto& protocol : kProtocols)
      if (protocol.name == name) return &protocol;
  return offered.empty() ? &kUnnamed : nullptr;
}

}  // namespace

Result<std::unique_ptr<RemoteCommand>> websocket_remote_command(const Request& request,
                                                                std::unique_ptr<Responder> responder,
                                                                const RemoteCommandOptions& options) {
  auto offered = offered_subprotocols(request);
  const Protocol* protocol = choose(offered);
  if (!protocol)
    return refuse_upgrade(*responder,
                          Status::bad_request("unable to upgrade: none of the WebSocket subprotocols offered (" +
                                              join(offered, ", ") + ") is supported"));
  auto tunnel = accept_websocket(request, std::move(responder), std::string(protocol->name));
  if (!tunnel) return fail(tunnel.error());
  return std::make_unique<WebSocketCommand>(std::move(*tunnel), *protocol, options);
}

}  // namespace kcube::http
