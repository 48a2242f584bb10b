// One accepted connection: a state machine driven by whichever reactor thread gets its event, never by two at a time.
//
// Two locks: `io_` is held while the machine moves (never while a handler runs), `mail_mutex_` guards what other
// threads hand in (answers, stream pieces). A foreign thread writes to the mailbox and posts the connection to the
// reactor.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pkg/http/chunked.h"
#include "pkg/http/output.h"
#include "pkg/http/request_parser.h"
#include "pkg/http/server.h"
#include "pkg/http/tls.h"
#include "pkg/http/transport.h"

namespace kcube::http {

class Reactor;

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Reactor& reactor, uint64_t id, Fd fd, SslPtr ssl, std::string remote_address, bool from_here);
  ~Connection();

  uint64_t id() const { return id_; }
  int fd() const { return transport_->fd(); }

  // --- Reactor threads ---
  // Moves the machine on after epoll said `events` (0: posted), and runs the handler of a complete request.
  void poke(uint32_t events);
  // Past its deadline, or told to end because the server stops: takes effect at the next poke.
  bool overdue(int64_t now_ms) const { return now_ms > deadline_ms_.load(std::memory_order_relaxed); }
  void expire() { expired_ = true; }

  // --- Any thread, through Responder and Stream ---
  struct Answer {
    int status;
    Headers headers;
    std::vector<Slice> body;
  };
  void answer(Answer answer);
  void answer_text(int status, const Headers& headers, std::string body);
  void begin_stream(int status, const Headers& headers);
  bool stream_write(std::shared_ptr<const std::string> piece);
  void stream_end();
  void stream_on_close(std::function<void()> callback);
  void on_abandoned(std::function<void()> callback);
  Result<std::unique_ptr<Tunnel>> take_over(const Headers& headers);

 private:
  enum class State { handshake, head, body, handling, linger, taken, closed };
  struct Mail {
    std::vector<Piece> pieces;
    bool complete = false;  // the answer ends behind the pieces
    bool streaming = false;
    bool posted = false;
    uint64_t waiting_bytes = 0;  // in the mailbox or the output queue
    bool gone = false;           // nobody will read the mailbox again
    std::function<void()> on_close;
    std::function<void()> on_abandoned;  // of a request without an answer so far
  };

  void drive();
  bool do_handshake();
  bool do_head();
  bool do_body();
  bool do_handling();
  bool do_linger();
  void begin_body();
  bool body_arrived();
  void finish_answer();
  Io fill();
  Io flush();
  void refuse(const Status& status);
  void kill();
  void run_handler();
  void post_mail(std::unique_lock<std::mutex>& lock);
  void set_deadline(std::chrono::milliseconds from_now);
  std::string answer_head(int status, const Headers& headers, uint64_t body_bytes);

  const std::shared_ptr<Reactor> owner_;
  Reactor& reactor_;
  const uint64_t id_;
  const std::string remote_address_;
  const bool from_here_;
  std::unique_ptr<Transport> transport_;
  std::atomic<bool> pending_{false}, readable_{true}, closing_{false}, expired_{false};
  std::atomic<int64_t> deadline_ms_;

  std::mutex io_;  // guards all below down to the next mutex
  State state_;
  Peer peer_;
  std::string in_;
  size_t in_start_ = 0, scanned_ = 0;
  ParsedHead head_;
  std::unique_ptr<ChunkDecoder> decoder_;
  OutputQueue out_;
  bool ready_ = false;  // a request waits for its handler
  bool keep_alive_ = true;
  bool answer_complete_ = false;
  bool streaming_ = false;
  bool stopped_stream_ = false;
  std::function<void()> run_on_close_;  // called once io_ is free

  // Read by the responder while state_ is handling; written before the handler runs.
  bool http10_ = false, head_method_ = false;

  std::mutex mail_mutex_;
  Mail mail_;
};

std::unique_ptr<Responder> make_responder(std::shared_ptr<Connection> connection);

}  // namespace kcube::http
