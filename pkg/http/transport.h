// One non-blocking socket with or without TLS. Not thread-safe: its owner locks. Server and tunnels share it.
#pragma once

#include <openssl/types.h>
#include <sys/uio.h>

#include <memory>
#include <string>

#include "pkg/base/fd.h"

namespace kcube::http {

enum class Io { ok, again, end, error };

struct SslFree {
  void operator()(SSL* ssl) const;
};
using SslPtr = std::unique_ptr<SSL, SslFree>;

class Transport {
 public:
  // Takes `ssl` (null: plain); the caller sets accept or connect state on it before.
  Transport(Fd fd, SslPtr ssl);
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // ok once the handshake is done (at once when plain).
  Io handshake();
  // ok with *bytes > 0, again, end (clean), error.
  Io read(char* to, size_t size, size_t* bytes);
  // ok when something was written (perhaps less than given). After `again` call again with the same bytes. `more`: other
  // bytes follow at once, so the kernel need not send what does not fill a segment.
  Io write(const iovec* pieces, size_t count, size_t* bytes, bool more = false);
  // After a short read the socket is known to be empty, and reads say `again` without a system call until this is
  // called: when epoll or poll said readable. `closing`: the peer's FIN may be behind the data, so read to the end.
  void mark_readable(bool closing);
  void shutdown_write();
  // True when the last handshake failed because the peer spoke plain HTTP.
  bool got_plain_http() const { return got_plain_http_; }
  // True when `again` was said because the socket is full, not empty.
  bool wants_write() const { return wants_write_; }

  int fd() const { return fd_.get(); }
  SSL* ssl() const { return ssl_.get(); }

  // For the BIO underneath OpenSSL.
  ssize_t socket_read(char* to, size_t size);
  ssize_t socket_write(const iovec* pieces, size_t count);

 private:
  Io classify(int result);

  Fd fd_;
  SslPtr ssl_;
  bool drained_ = false;
  bool closing_ = false;
  bool got_plain_http_ = false;
  bool wants_write_ = false;
  bool more_ = false;
};

}  // namespace kcube::http
