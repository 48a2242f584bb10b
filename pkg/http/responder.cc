// What handlers hold: the answer, the detached stream. They write to the connection's mailbox; see connection.h.
#include <charconv>

#include "pkg/http/connection.h"
#include "pkg/http/reactor.h"
#include "pkg/http/response.h"
#include "pkg/http/tunnel.h"

namespace kcube::http {
namespace {

class StreamHandle final : public Stream {
 public:
  explicit StreamHandle(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~StreamHandle() override { close(); }
  bool write(std::shared_ptr<const std::string> piece) override {
    return !closed_ && connection_->stream_write(std::move(piece));
  }
  void on_close(std::function<void()> callback) override {
    if (!closed_) connection_->stream_on_close(std::move(callback));
  }
  void close() override {
    if (!closed_.exchange(true)) connection_->stream_end();
  }

 private:
  std::shared_ptr<Connection> connection_;
  std::atomic<bool> closed_{false};
};

class ResponderHandle final : public Responder {
 public:
  explicit ResponderHandle(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~ResponderHandle() override {
    if (!connection_) return;
    Headers headers;
    headers.add("Content-Type", "application/json");
    respond(500, std::move(headers), status_json(Status::internal("the request was not answered")));
  }
  void respond(int status, Headers headers, std::string body) override {
    take()->answer_text(status, headers, std::move(body));
  }
  void respond_shared(int status, Headers headers, std::vector<Slice> body) override {
    take()->answer({status, std::move(headers), std::move(body)});
  }
  std::unique_ptr<Stream> stream(int status, Headers headers) override {
    auto connection = take();
    connection->begin_stream(status, headers);
    return std::make_unique<StreamHandle>(std::move(connection));
  }
  Result<std::unique_ptr<Tunnel>> upgrade(Headers headers) override { return take()->take_over(headers); }
  void on_abandoned(std::function<void()> callback) override { connection_->on_abandoned(std::move(callback)); }

 private:
  std::shared_ptr<Connection> take() {
    KCUBE_CHECK(connection_ != nullptr);  // one answer a request
    return std::exchange(connection_, nullptr);
  }
  std::shared_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Responder> make_responder(std::shared_ptr<Connection> connection) {
  return std::make_unique<ResponderHandle>(std::move(connection));
}

Slice slice(std::shared_ptr<const std::string> text) {
  std::string_view bytes = *text;
  return {std::move(text), bytes};
}

std::string Connection::answer_head(int status, const Headers& headers, uint64_t body_bytes) {
  if (headers.get("Connection") == "close") keep_alive_ = false;
  return response_head(status, headers, {.http10 = http10_, .keep_alive = keep_alive_, .content_length = body_bytes},
                       body_bytes <= 8192 ? body_bytes : 0);
}

void Connection::answer_text(int status, const Headers& headers, std::string body) {
  std::string head = answer_head(status, headers, body.size());
  bool with_body = !head_method_ && !body.empty();
  bool joined = with_body && body.size() <= 8192;
  if (joined) head.append(body);
  std::unique_lock lock(mail_mutex_);
  mail_.pieces.push_back({nullptr, std::move(head)});
  if (with_body && !joined) mail_.pieces.push_back({nullptr, std::move(body)});
  mail_.complete = true;
  post_mail(lock);
}

void Connection::answer(Answer answer) {
  uint64_t size = 0;
  for (const Slice& piece : answer.body) size += piece.bytes.size();
  std::string head = answer_head(answer.status, answer.headers, size);
  std::unique_lock lock(mail_mutex_);
  mail_.pieces.push_back({nullptr, std::move(head)});
  if (!head_method_)
    for (Slice& piece : answer.body) mail_.pieces.push_back({nullptr, {}, std::move(piece)});
  mail_.complete = true;
  post_mail(lock);
}

void Connection::begin_stream(int status, const Headers& headers) {
  if (http10_) keep_alive_ = false;  // no chunks: the end of the connection ends the body
  std::string head =
      response_head(status, headers, {.http10 = http10_, .keep_alive = keep_alive_, .chunked = !http10_});
  reactor_.lend_thread();
  std::unique_lock lock(mail_mutex_);
  mail_.pieces.push_back({nullptr, std::move(head)});
  mail_.streaming = true;
  post_mail(lock);
}

bool Connection::stream_write(std::shared_ptr<const std::string> piece) {
  std::unique_lock lock(mail_mutex_);
  if (mail_.gone) return false;
  if (piece->empty() || head_method_) return true;
  if (mail_.waiting_bytes + piece->size() > reactor_.options().stream_buffer_bytes) {
    mail_.gone = true;  // a slow reader is cut off rather than kept in memory
    lock.unlock();
    expire();
    reactor_.post(shared_from_this());
    return false;
  }
  mail_.waiting_bytes += piece->size();
  if (http10_) {
    mail_.pieces.push_back({std::move(piece), {}});
  } else {
    char size[20];
    auto end = std::to_chars(size, size + 16, piece->size(), 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    mail_.pieces.push_back({nullptr, std::string(size, end)});
    mail_.pieces.push_back({std::move(piece), {}});
    mail_.pieces.push_back({nullptr, "\r\n"});
  }
  post_mail(lock);
  return true;
}

void Connection::stream_end() {
  std::unique_lock lock(mail_mutex_);
  mail_.on_close = nullptr;
  if (mail_.gone) return;
  if (!http10_ && !head_method_) mail_.pieces.push_back({nullptr, "0\r\n\r\n"});
  mail_.complete = true;
  mail_.gone = true;  // further writes are refused
  post_mail(lock);
}

void Connection::stream_on_close(std::function<void()> callback) {
  std::unique_lock lock(mail_mutex_);
  mail_.on_close = std::move(callback);
  if (!mail_.gone) return;
  lock.unlock();
  expire();
  reactor_.post(shared_from_this());
}

void Connection::on_abandoned(std::function<void()> callback) {
  std::unique_lock lock(mail_mutex_);
  mail_.on_abandoned = std::move(callback);
  const bool gone = mail_.gone || closing_;
  lock.unlock();
  if (gone) reactor_.post(shared_from_this());
}

Result<std::unique_ptr<Tunnel>> Connection::take_over(const Headers& headers) {
  std::shared_ptr<SocketTunnel> tunnel;
  {
    std::lock_guard lock(io_);
    if (state_ == State::closed) return fail(Status::unavailable("the client is gone"));
    tunnel = std::make_shared<SocketTunnel>(std::move(transport_), in_.substr(in_start_));
    state_ = State::taken;
    reactor_.hand_over(*this, tunnel);
  }
  reactor_.lend_thread();
  std::string head = "HTTP/1.1 101 Switching Protocols\r\n";
  append_headers(head, headers);
  if (auto ok = tunnel->write(head.append("\r\n")); !ok) return fail(ok.error());
  return share_tunnel(tunnel);
}

}  // namespace kcube::http
