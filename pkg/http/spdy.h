// The server's side of a SPDY/3.1 connection over a tunnel: streams that the client opens, each a Channel.
//
// One thread reads and fills the streams' inboxes. Windows: ours are granted as bytes are consumed; the client's bind
// us only once it has sent a WINDOW_UPDATE, because kubectl's library never does. Source: the SPDY/3.1 draft.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "pkg/http/inbox.h"
#include "pkg/http/spdy_headers.h"
#include "pkg/http/streams.h"

namespace kcube::http {

class SpdySession;

class SpdyStream final : public Channel {
 public:
  SpdyStream(SpdySession& session, uint32_t id, Headers headers)
      : session_(session), id_(id), headers_(std::move(headers)) {}
  Result<size_t> read(char* buffer, size_t size) override;
  Result<void> write(std::string_view bytes) override;
  void close_write() override;
  void reset() override;
  uint32_t id() const { return id_; }
  const Headers& headers() const { return headers_; }

 private:
  friend class SpdySession;
  SpdySession& session_;  // outlives its streams' use
  const uint32_t id_;
  const Headers headers_;
  Inbox inbox_;
  size_t ungranted_ = 0;  // consumed but not yet granted again; reader thread of the channel
  // Under the session's mutex:
  int64_t window_ = 0;
  bool write_closed_ = false, dead_ = false;
};

class SpdySession {
 public:
  explicit SpdySession(std::unique_ptr<Tunnel> tunnel);
  ~SpdySession();
  // The next stream that the client opened, already answered with SYN_REPLY. Null at the end of the connection, or
  // after `deadline` (0: none).
  std::shared_ptr<SpdyStream> accept(std::chrono::milliseconds deadline);
  // `callback` runs once on the session's thread when the connection has ended, or at once when it has.
  void on_end(std::function<void()> callback);
  // GOAWAY, then waits a little for the client to read everything and leave, then closes.
  void shut_down();
  void close() { tunnel_->close(); }
  // Drops a stream that is done; what the client still sends on it is thrown away.
  void forget(SpdyStream& stream);

 private:
  friend class SpdyStream;
  struct Frame {
    bool control = false;
    uint16_t type = 0;
    uint8_t flags = 0;
    uint32_t stream = 0, size = 0;
  };
  void run();
  bool read_exactly(char* to, size_t size);
  bool read_frame();
  bool handle_data(const Frame& frame);
  bool handle_control(const Frame& frame, const std::string& payload);
  bool open_stream(const Frame& frame, const std::string& payload);
  void update_window(const std::string& payload);
  void apply_settings(const std::string& payload);
  std::shared_ptr<SpdyStream> find(uint32_t id);
  Result<void> send_data(SpdyStream& stream, std::string_view bytes);
  void finish(SpdyStream& stream);
  void reset(uint32_t id, uint32_t status);
  Result<void> send_control(uint16_t type, uint8_t flags, std::string_view payload);
  Result<void> send(std::string_view frame);

  std::unique_ptr<Tunnel> tunnel_;
  std::string in_;
  size_t in_start_ = 0;
  SpdyHeaderReader header_reader_;  // reader thread
  std::atomic<uint32_t> last_id_{0};

  std::mutex write_mutex_;          // frames go out whole
  SpdyHeaderWriter header_writer_;  // under write_mutex_

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint32_t, std::shared_ptr<SpdyStream>> streams_;
  std::deque<std::shared_ptr<SpdyStream>> opened_;
  std::function<void()> on_end_;
  int64_t initial_window_ = 65536;
  bool windows_bind_ = false;
  bool ended_ = false;

  std::thread reader_;  // last: starts when all above is there
};

}  // namespace kcube::http
