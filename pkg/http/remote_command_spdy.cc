// exec and attach over SPDY: one stream a channel, named by the header "streamtype".
#include <algorithm>
#include <array>
#include <mutex>
#include <thread>

#include "pkg/base/strings.h"
#include "pkg/http/spdy.h"
#include "pkg/http/streams_internal.h"

namespace kcube::http {
namespace {

constexpr std::array<std::string_view, 5> kProtocols = {"v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io",
                                                        "v2.channel.k8s.io", "channel.k8s.io"};
constexpr auto kStreamsDeadline = std::chrono::seconds(30);

using StreamPtr = std::shared_ptr<SpdyStream>;

struct Streams {
  StreamPtr in, out, err, error, resize;
};

class SpdyCommand final : public RemoteCommand {
 public:
  SpdyCommand(std::unique_ptr<SpdySession> session, Streams streams, bool sends_status)
      : session_(std::move(session)), streams_(std::move(streams)), sends_status_(sends_status) {
    if (streams_.resize) resizer_ = std::thread([this] { read_resizes(); });
  }
  ~SpdyCommand() override {
    session_->close();
    if (streams_.resize) streams_.resize->reset();
    if (resizer_.joinable()) resizer_.join();
  }
  Channel* stdin() override { return streams_.in.get(); }
  Channel* stdout() override { return streams_.out.get(); }
  Channel* stderr() override { return streams_.err.get(); }

  void on_resize(std::function<void(uint16_t, uint16_t)> callback) override {
    std::lock_guard lock(mutex_);
    on_resize_ = std::move(callback);
    if (width_ > 0 && on_resize_) on_resize_(width_, height_);
  }
  void on_gone(std::function<void()> callback) override { session_->on_end(std::move(callback)); }
  void finish(const std::string& status_json) override {
    std::string outcome = sends_status_ ? status_json : plain_outcome(status_json);
    if (streams_.out) streams_.out->close_write();
    if (streams_.err) streams_.err->close_write();
    if (!outcome.empty()) (void)streams_.error->write(outcome);
    streams_.error->close_write();
    session_->shut_down();
  }

 private:
  void read_resizes() {
    ResizeReader reader([this](uint16_t width, uint16_t height) {
      std::lock_guard lock(mutex_);
      width_ = width;
      height_ = height;
      if (on_resize_) on_resize_(width, height);
    });
    char buffer[512];
    while (true) {
      auto n = streams_.resize->read(buffer, sizeof buffer);
      if (!n || *n == 0) return;
      reader.feed({buffer, *n});
    }
  }

  std::unique_ptr<SpdySession> session_;
  const Streams streams_;
  const bool sends_status_;
  std::mutex mutex_;
  std::function<void(uint16_t, uint16_t)> on_resize_;
  uint16_t width_ = 0, height_ = 0;
  std::thread resizer_;
};

// Waits for every stream that `options` (and from v3 on a tty) promise.
Result<Streams> accept_streams(SpdySession& session, const RemoteCommandOptions& options, bool resizes) {
  Streams streams;
  size_t missing = 1 + (options.stdin ? 1 : 0) + (options.stdout ? 1 : 0) + (options.stderr && !options.tty ? 1 : 0) +
                   (options.tty && resizes ? 1 : 0);
  while (missing > 0) {
    auto stream = session.accept(kStreamsDeadline);
    if (!stream) return fail(Status::timeout("the client to create streams"));
    auto type = stream->headers().get("streamtype");
    StreamPtr* place = type == "stdin"    ? &streams.in
                       : type == "stdout" ? &streams.out
                       : type == "stderr" ? &streams.err
                       : type == "error"  ? &streams.error
                       : type == "resize" ? &streams.resize
                                          : nullptr;
    if (!place || *place) {
      stream->reset();
      return fail(Status::bad_request("unexpected stream type: \"" + std::string(type) + "\""));
    }
    *place = std::move(stream);
    --missing;
  }
  if (!streams.error) return fail(Status::bad_request("the client created no error stream"));
  return streams;
}

}  // namespace

Result<std::unique_ptr<RemoteCommand>> spdy_remote_command(const Request& request, std::unique_ptr<Responder> responder,
                                                           const RemoteCommandOptions& options) {
  auto offered = offered_stream_protocols(request);
  std::string protocol;  // none offered: clients before v2
  for (const auto& name : offered)
    if (protocol.empty() && std::find(kProtocols.begin(), kProtocols.end(), name) != kProtocols.end()) protocol = name;
  if (!offered.empty() && protocol.empty()) {
    Headers headers;
    for (auto name : kProtocols) headers.add("X-Accept-Stream-Protocol-Version", std::string(name));
    return refuse_upgrade(
        *responder,
        Status(403, "Forbidden",
               "unable to upgrade: unable to negotiate protocol: client supports [" + join(offered, " ") + "]"),
        std::move(headers));
  }
  auto tunnel = accept_spdy(std::move(responder), protocol);
  if (!tunnel) return fail(tunnel.error());
  auto session = std::make_unique<SpdySession>(std::move(*tunnel));
  char version = protocol.starts_with('v') ? protocol[1] : '1';
  auto streams = accept_streams(*session, options, version >= '3');
  if (!streams) return fail(streams.error());
  return std::make_unique<SpdyCommand>(std::move(session), std::move(*streams), version >= '4');
}

}  // namespace kcube::http
