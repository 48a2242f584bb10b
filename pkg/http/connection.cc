#include "pkg/http/connection.h"

#include <sys/epoll.h>

#include <algorithm>
#include <limits>

#include "pkg/http/reactor.h"
#include "pkg/http/response.h"

namespace kcube::http {
namespace {

constexpr size_t kReadSize = 16384;
constexpr size_t kMaxPipelined = 64 << 10;  // unread requests kept while a stream is open
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// The connection whose handler runs on this thread.
thread_local const Connection* running_here = nullptr;

}  // namespace

Connection::Connection(Reactor& reactor, uint64_t id, Fd fd, SslPtr ssl, std::string remote_address, bool from_here)
    : owner_(reactor.shared_from_this()),
      reactor_(reactor),
      id_(id),
      remote_address_(std::move(remote_address)),
      from_here_(from_here),
      transport_(std::make_unique<Transport>(std::move(fd), std::move(ssl))),
      state_(transport_->ssl() ? State::handshake : State::head) {
  set_deadline(reactor.options().header_deadline);
}

Connection::~Connection() = default;

void Connection::set_deadline(std::chrono::milliseconds from_now) { deadline_ms_ = steady_ms() + from_now.count(); }

void Connection::poke(uint32_t events) {
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) closing_ = true;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
  pending_ = true;
  // Who holds the lock looks at pending_ again after letting it go, so no event is lost.
  while (pending_) {
    std::unique_lock lock(io_, std::try_to_lock);
    if (!lock) return;
    pending_ = false;
    drive();
    auto on_close = std::exchange(run_on_close_, nullptr);
    bool run = std::exchange(ready_, false);
    lock.unlock();
    if (on_close) on_close();
    if (run) {
      run_handler();
      pending_ = true;
    }
  }
}

void Connection::drive() {
  if (state_ == State::taken) return;
  if (state_ == State::closed) {  // a stream's owner may have come too late
    std::lock_guard lock(mail_mutex_);
    run_on_close_ = std::exchange(mail_.on_close, nullptr);
    return;
  }
  if (expired_) return kill();
  if (readable_.exchange(false)) transport_->mark_readable(closing_);
  bool more = true;
  while (more) {
    switch (state_) {
      case State::handshake: more = do_handshake(); break;
      case State::head: more = do_head(); break;
      case State::body: more = do_body(); break;
      case State::handling: more = do_handling(); break;
      case State::linger: more = do_linger(); break;
      default: more = false;
    }
  }
}

bool Connection::do_handshake() {
  switch (transport_->handshake()) {
    case Io::again: return false;
    case Io::ok: break;
    default:
      if (transport_->got_plain_http()) {
        static constexpr std::string_view kAnswer =
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        iovec piece{const_cast<char*>(kAnswer.data()), kAnswer.size()};
        transport_->socket_write(&piece, 1);
      }
      kill();
      return false;
  }
  peer_ = peer_of(transport_->ssl());
  state_ = State::head;
  return true;
}

// Reads what is there. ok: in_ grew.
Io Connection::fill() {
  thread_local char buffer[kReadSize];
  size_t n = 0;
  Io io = transport_->read(buffer, sizeof buffer, &n);
  in_.append(buffer, n);
  return io;
}

bool Connection::do_head() {
  const ServerOptions& options = reactor_.options();
  // An empty line before a request is forgiven (RFC 9112 section 2.2).
  while (in_.size() - in_start_ >= 2 && in_.compare(in_start_, 2, "\r\n") == 0) in_start_ += 2;
  auto end = in_.find("\r\n\r\n", std::max(in_start_, scanned_));
  if (end == std::string::npos) {
    in_.erase(0, std::exchange(in_start_, 0));
    size_t waiting = in_.size() - in_start_;
    scanned_ = in_.size() < 3 ? 0 : in_.size() - 3;
    if (waiting > options.max_header_bytes) {
      refuse(Status(431, "", "request header too large"));
      return true;
    }
    if (waiting == 0) in_ = std::string();
    switch (fill()) {
      case Io::ok:
        if (waiting == 0) set_deadline(options.header_deadline);
        return true;
      case Io::again:
        if (waiting == 0 && reactor_.stopping()) kill();
        return false;
      default: kill(); return false;
    }
  }
  std::string_view bytes(in_.data() + in_start_, end + 4 - in_start_);
  auto parsed = bytes.size() > options.max_header_bytes ? fail(Status(431, "", "request header too large"))
                                                        : parse_head(bytes, options.max_headers);
  in_start_ = scanned_ = end + 4;
  if (!parsed) {
    refuse(parsed.error());
    return true;
  }
  head_ = std::move(*parsed);
  begin_body();
  return true;
}

void Connection::begin_body() {
  http10_ = head_.http10;
  head_method_ = head_.request.method == "HEAD";
  keep_alive_ = head_.keep_alive;
  const ServerOptions& options = reactor_.options();
  if (head_.content_length > options.max_body_bytes)
    return refuse(Status(413, "RequestEntityTooLarge",
                         "Request entity too large: limit is " + std::to_string(options.max_body_bytes)));
  decoder_ = head_.chunked ? std::make_unique<ChunkDecoder>(options.max_body_bytes) : nullptr;
  if (head_.expect_continue && in_.size() == in_start_) out_.push({nullptr, "HTTP/1.1 100 Continue\r\n\r\n"});
  state_ = State::body;
  if (head_.chunked || head_.content_length > 0) set_deadline(options.body_deadline);
}

// Moves body bytes from in_ to the request. True when the body is complete or was refused.
bool Connection::body_arrived() {
  std::string& body = head_.request.body;
  std::string_view input(in_.data() + in_start_, in_.size() - in_start_);
  if (!head_.chunked) {
    size_t take = std::min<size_t>(input.size(), head_.content_length - body.size());
    body.append(input.substr(0, take));
    in_start_ += take;
    return body.size() == head_.content_length;
  }
  size_t used = 0;
  auto state = decoder_->feed(input, body, used);
  in_start_ += used;
  if (state == ChunkDecoder::State::malformed) refuse(Status::bad_request("malformed chunked encoding"));
  if (state == ChunkDecoder::State::too_large)
    refuse(Status(413, "RequestEntityTooLarge",
                  "Request entity too large: limit is " + std::to_string(reactor_.options().max_body_bytes)));
  return state != ChunkDecoder::State::more;
}

bool Connection::do_body() {
  bool complete = body_arrived();
  if (in_start_ == in_.size()) {
    in_.clear();
    in_start_ = 0;
  }
  scanned_ = in_start_;
  if (state_ != State::body) return true;
  if (complete && reactor_.stopping()) {
    refuse(Status(503, "ServiceUnavailable", "the server is shutting down"));
    return true;
  }
  if (complete) {
    state_ = State::handling;
    deadline_ms_ = kNever;
    ready_ = true;
    return false;
  }
  if (flush() == Io::error) {
    kill();
    return false;
  }
  switch (fill()) {
    case Io::ok: return true;
    case Io::again: return false;
    default: kill(); return false;
  }
}

void Connection::run_handler() {
  Request request = std::move(head_.request);
  request.remote_address = remote_address_;
  request.from_here = from_here_;
  request.server_name = peer_.server_name;
  if (peer_.present) {
    request.peer_certificate_invalid = !peer_.valid || std::chrono::system_clock::now() > peer_.not_after;
    if (!request.peer_certificate_invalid) {
      request.peer_common_name = peer_.common_name;
      request.peer_organizations = peer_.organizations;
      request.peer_certificate_der = peer_.der;
    }
  }
  reactor_.handler_started();
  running_here = this;
  reactor_.handler()(request, make_responder(shared_from_this()));
  running_here = nullptr;
  reactor_.handler_finished();
}

// Lets the reactor know that the mailbox has something, once until it is emptied. Not needed for a whole answer given
// on the handler's own thread, which flushes when the handler returns.
void Connection::post_mail(std::unique_lock<std::mutex>& lock) {
  bool first = !std::exchange(mail_.posted, true);
  bool own = running_here == this && !mail_.streaming;
  lock.unlock();
  if (first && !own) reactor_.post(shared_from_this());
}

// Sends the mailbox. The queue is drained into out_ first, so that small pieces share a record.
Io Connection::flush() {
  {
    std::lock_guard lock(mail_mutex_);
    mail_.posted = false;
    for (auto& piece : mail_.pieces) out_.push(std::move(piece));
    mail_.pieces.clear();
    answer_complete_ |= mail_.complete;
    streaming_ |= mail_.streaming;
    mail_.complete = false;
  }
  if (out_.empty()) return Io::ok;
  size_t sent = 0;
  Io io = out_.flush(*transport_, &sent);
  if (out_.yielded()) reactor_.post(shared_from_this());
  if (sent > 0) {
    std::lock_guard lock(mail_mutex_);
    mail_.waiting_bytes -= std::min<uint64_t>(mail_.waiting_bytes, sent);
  }
  if (io == Io::again && (sent > 0 || deadline_ms_ == kNever)) set_deadline(reactor_.options().body_deadline);
  if (io == Io::ok && state_ == State::handling) deadline_ms_ = kNever;
  return io == Io::end ? Io::error : io;
}

bool Connection::do_handling() {
  if (ready_) return false;
  Io io = flush();
  if (io == Io::error) {
    kill();
    return false;
  }
  if (answer_complete_) {
    if (io == Io::again) return false;
    finish_answer();
    return true;
  }
  if (!streaming_) {
    if (closing_) {
      std::lock_guard lock(mail_mutex_);
      run_on_close_ = std::exchange(mail_.on_abandoned, nullptr);
    }
    return false;
  }
  if (reactor_.stopping() && !stopped_stream_) {
    stopped_stream_ = true;
    std::lock_guard lock(mail_mutex_);
    run_on_close_ = std::exchange(mail_.on_close, nullptr);
    if (!http10_) out_.push({nullptr, "0\r\n\r\n"});
    mail_.gone = true;
    keep_alive_ = false;
    answer_complete_ = true;
    return true;
  }
  // Bytes from the client are its next request; the end means that nobody reads the stream any more.
  while (in_.size() < kMaxPipelined) {
    io = fill();
    if (io == Io::again) return false;
    if (io != Io::ok) break;
  }
  kill();
  return false;
}

void Connection::finish_answer() {
  {
    std::lock_guard lock(mail_mutex_);
    mail_ = Mail{};
  }
  answer_complete_ = streaming_ = false;
  if (!keep_alive_ || reactor_.stopping()) {
    transport_->shutdown_write();
    state_ = State::linger;
    set_deadline(std::min(reactor_.options().header_deadline, std::chrono::milliseconds(3000)));
    return;
  }
  state_ = State::head;
  set_deadline(reactor_.options().idle_deadline);
}

// Reads what the client still sends, so that closing does not reset the connection under the answer.
bool Connection::do_linger() {
  in_.clear();
  in_start_ = 0;
  while (true) {
    Io io = fill();
    in_.clear();
    if (io == Io::again) return false;
    if (io != Io::ok) break;
  }
  kill();
  return false;
}

void Connection::refuse(const Status& status) {
  out_.push({nullptr, refusal(status)});
  keep_alive_ = false;
  answer_complete_ = true;
  state_ = State::handling;
}

void Connection::kill() {
  state_ = State::closed;
  {
    std::lock_guard lock(mail_mutex_);
    mail_.gone = true;
    mail_.pieces.clear();
    if (mail_.on_close) run_on_close_ = std::exchange(mail_.on_close, nullptr);
    if (mail_.on_abandoned) run_on_close_ = std::exchange(mail_.on_abandoned, nullptr);
  }
  reactor_.remove(*this);
  transport_->shutdown_write();
  transport_.reset();
}

}  // namespace kcube::http
