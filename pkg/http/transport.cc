#include "pkg/http/transport.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace kcube::http {
namespace {

Transport* transport_of(BIO* bio) { return static_cast<Transport*>(BIO_get_data(bio)); }

int bio_read(BIO* bio, char* to, int size) {
  BIO_clear_retry_flags(bio);
  ssize_t n = transport_of(bio)->socket_read(to, static_cast<size_t>(size));
  if (n < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

int bio_write(BIO* bio, const char* from, int size) {
  BIO_clear_retry_flags(bio);
  iovec piece{const_cast<char*>(from), static_cast<size_t>(size)};
  ssize_t n = transport_of(bio)->socket_write(&piece, 1);
  if (n < 0 && errno == EAGAIN) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* bio_method() {
  static BIO_METHOD* method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kcube transport");
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_ctrl(m, bio_control);
    return m;
  }();
  return method;
}

}  // namespace

void SslFree::operator()(SSL* ssl) const { SSL_free(ssl); }

Transport::Transport(Fd fd, SslPtr ssl) : fd_(std::move(fd)), ssl_(std::move(ssl)) {
  if (!ssl_) return;
  BIO* bio = BIO_new(bio_method());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
}

ssize_t Transport::socket_read(char* to, size_t size) {
  if (drained_) {
    errno = EAGAIN;
    return -1;
  }
  ssize_t n;
  do n = ::recv(fd_.get(), to, size, 0);
  while (n < 0 && errno == EINTR);
  drained_ = n < 0 ? errno == EAGAIN : !closing_ && n > 0 && static_cast<size_t>(n) < size;
  return n;
}

ssize_t Transport::socket_write(const iovec* pieces, size_t count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = count;
  ssize_t n;
  do n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | (more_ ? MSG_MORE : 0));
  while (n < 0 && errno == EINTR);
  return n;
}

void Transport::mark_readable(bool closing) {
  drained_ = false;
  closing_ |= closing;
}

Io Transport::classify(int result) {
  int error = SSL_get_error(ssl_.get(), result);
  wants_write_ = error == SSL_ERROR_WANT_WRITE;
  Io io = Io::error;
  if (error == SSL_ERROR_WANT_READ || wants_write_) return Io::again;
  if (error == SSL_ERROR_ZERO_RETURN) io = Io::end;
  if (error == SSL_ERROR_SSL) {
    auto reason = ERR_GET_REASON(ERR_peek_error());
    got_plain_http_ = reason == SSL_R_HTTP_REQUEST;
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) io = Io::end;
  }
  ERR_clear_error();
  return io;
}

Io Transport::handshake() {
  if (!ssl_ || SSL_is_init_finished(ssl_.get())) return Io::ok;
  int result = SSL_do_handshake(ssl_.get());
  return result == 1 ? Io::ok : classify(result);
}

Io Transport::read(char* to, size_t size, size_t* bytes) {
  *bytes = 0;
  if (ssl_) {
    int result = SSL_read_ex(ssl_.get(), to, size, bytes);
    return result == 1 ? Io::ok : classify(result);
  }
  ssize_t n = socket_read(to, size);
  wants_write_ = false;
  if (n < 0) return errno == EAGAIN ? Io::again : Io::error;
  *bytes = static_cast<size_t>(n);
  return n == 0 ? Io::end : Io::ok;
}

Io Transport::write(const iovec* pieces, size_t count, size_t* bytes, bool more) {
  *bytes = 0;
  more_ = more;
  if (count == 0) return Io::ok;
  if (ssl_) {
    int result = SSL_write_ex(ssl_.get(), pieces[0].iov_base, pieces[0].iov_len, bytes);
    return result == 1 ? Io::ok : classify(result);
  }
  ssize_t n = socket_write(pieces, count);
  wants_write_ = n < 0;
  if (n < 0) return errno == EAGAIN ? Io::again : Io::error;
  *bytes = static_cast<size_t>(n);
  return Io::ok;
}

void Transport::shutdown_write() {
  if (ssl_ && SSL_is_init_finished(ssl_.get())) {
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  ::shutdown(fd_.get(), SHUT_WR);
}

}  // namespace kcube::http
