// The HTTP server: connections that cost memory, not threads.
//
// A reactor accepts, shakes hands (TLS), reads whole requests without blocking and parks idle connections. Its threads
// share one epoll and take one event at a time; the thread that completes a request runs the handler, and a supervisor
// adds threads when handlers block (never when they only compute). cpp-httplib parses the head. A handler may detach
// its connection: a watch goes on as a chunked stream fed from any thread, an upgrade becomes a raw byte tunnel. Limits
// keep strangers cheap: see ServerOptions. HTTP/1.1 only (clients fall back by ALPN). Source: RFC 9110, 9112;
// decision 5.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::http {

// Header names compare without case; order kept.
class Headers {
 public:
  void add(std::string name, std::string value);
  void set(std::string name, std::string value);
  // Empty when absent; the first when there are several.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& items() const { return items_; }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

// Query parameters in order, decoded. Repeated names are kept (`command=a&command=b`).
class Query {
 public:
  static Query parse(std::string_view raw);
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;
  // A switch of the API: given, and neither "false" in any case nor "0". "watch", "watch=" and "watch=True" are all on.
  bool flag(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& items() const { return items_; }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

struct Request {
  std::string method;
  std::string path;      // percent-decoded
  std::string raw_path;  // as sent
  std::string raw_query;
  Query query;
  Headers headers;
  std::string body;
  std::string remote_address;  // "10.42.0.7"
  bool from_here = false;      // the client is on this machine: both ends of the connection have one address
  std::string server_name;     // TLS SNI, may be empty
  // The client certificate, verified against ServerOptions::client_ca: subject fields of the leaf. Empty without one.
  std::string peer_common_name;
  std::vector<std::string> peer_organizations;
  std::string peer_certificate_der;
  // A certificate came but does not verify (unknown issuer, expired, wrong usage): answer 401, as kube-apiserver does.
  bool peer_certificate_invalid = false;
};

// A detached response: a chunked body fed from any thread. Bounded: when the client does not read, write() says so.
class Stream {
 public:
  virtual ~Stream() = default;  // ends the chunked body and closes or parks the connection
  // Queues one piece shared with other receivers without copying. False once the client is gone or more than
  // ServerOptions::stream_buffer_bytes wait; the stream is then dead and will be closed.
  virtual bool write(std::shared_ptr<const std::string> piece) = 0;
  // Called once, on a reactor thread, when the client is gone (or the stream died). Set it before writing.
  virtual void on_close(std::function<void()> callback) = 0;
  virtual void close() = 0;
};

// A connection taken over whole after 101, or dialled: plain bytes, TLS hidden. Blocking reads and writes with one
// reader and one writer thread at a time; close() from anywhere wakes both.
class Tunnel {
 public:
  virtual ~Tunnel() = default;
  // 0 at the end; fails on errors.
  virtual Result<size_t> read(char* buffer, size_t size) = 0;
  virtual Result<void> write(std::string_view bytes) = 0;
  // Shuts down writing (TLS close_notify or TCP FIN), reading goes on.
  virtual void close_write() = 0;
  virtual void close() = 0;
};

// A piece of an answer and whoever keeps its bytes alive.
struct Slice {
  std::shared_ptr<const void> owner;
  std::string_view bytes;
};
Slice slice(std::shared_ptr<const std::string> text);

// The handler's hold on the answer. Exactly one of respond(), stream() and upgrade() per request; a handler that
// returns without any of them must have moved the Responder elsewhere (it then answers later, from any thread).
class Responder {
 public:
  virtual ~Responder() = default;  // without an answer: 500
  virtual void respond(int status, Headers headers, std::string body) = 0;
  // The same without copying a body that others hold too.
  virtual void respond_shared(int status, Headers headers, std::vector<Slice> body) = 0;
  virtual std::unique_ptr<Stream> stream(int status, Headers headers) = 0;
  // Writes `101 Switching Protocols` with `headers` (Upgrade, Connection and Sec-WebSocket-* are the caller's) and
  // hands the raw connection over.
  virtual Result<std::unique_ptr<Tunnel>> upgrade(Headers headers) = 0;
  // Called once, on a reactor thread, when the client goes away while nothing was answered yet. For handlers that keep the
  // Responder for later.
  virtual void on_abandoned(std::function<void()> callback) = 0;
};

// Runs on a pool thread, and may block there: others are added. `responder` may be kept beyond the call. What respond()
// gives on the handler's own thread leaves when the handler returns; streams and tunnels leave at once.
using Handler = std::function<void(Request& request, std::unique_ptr<Responder> responder)>;

struct TlsOptions {
  std::string certificate_pem, key_pem;  // chain, leaf first
  std::string client_ca_pem;             // empty: no client certificates are asked for
};

struct ServerOptions {
  std::string address = "0.0.0.0";  // or "::", or a Unix socket path with a leading '/' (never TLS)
  uint16_t port = 0;                // 0: any free port
  // Several listeners of one server: more {address, port}.
  std::vector<std::pair<std::string, uint16_t>> more;
  bool tls = true;
  TlsOptions tls_options;
  size_t max_threads = 64;
  size_t max_connections = 20000;
  uint64_t max_body_bytes = 3 << 20;  // beyond: 413 with a metav1.Status body
  uint64_t max_header_bytes = 1 << 20;
  size_t max_headers = 256;
  std::chrono::milliseconds header_deadline{std::chrono::seconds(10)};  // handshake and head complete within
  std::chrono::milliseconds body_deadline{std::chrono::seconds(60)};
  std::chrono::milliseconds idle_deadline{std::chrono::minutes(5)};
  uint64_t stream_buffer_bytes = 4 << 20;
};

// Destroying it stops it at once and waits for handlers that still run. Responders and streams may outlive it: they
// then lead nowhere.
class Server {
 public:
  // Binds at once, so that a port in use is known before anything else starts: 409 "KC_PORT_IN_USE".
  static Result<std::unique_ptr<Server>> create(ServerOptions options, Handler handler);
  virtual ~Server() = default;
  virtual void start() = 0;
  // Stops accepting, ends streams, waits for running handlers until the deadline, closes the rest.
  virtual void stop(std::chrono::milliseconds deadline) = 0;
  virtual uint16_t port() const = 0;
  // New handshakes use the new certificate; for rotation.
  virtual Result<void> set_certificate(const TlsOptions& tls) = 0;
  virtual size_t connections() const = 0;
  // Runs `task` as if it were a handler: on one of the same threads, which may block there. For requests that a handler put
  // aside. When the server stops, tasks that have not begun are destroyed.
  virtual void run(std::function<void()> task) = 0;
};

}  // namespace kcube::http
