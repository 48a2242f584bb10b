// dial_upgrade and splice: connections for upgrades are ours, because libcurl does not give its sockets away with TLS.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "pkg/base/strings.h"
#include "pkg/http/chunked.h"
#include "pkg/http/client.h"
#include "pkg/http/netns_socket.h"
#include "pkg/http/reactor.h"
#include "pkg/http/response.h"
#include "pkg/http/tls.h"
#include "pkg/http/tunnel.h"
#include "pkg/http/url.h"

namespace kcube::http {
namespace {

constexpr size_t kMaxHead = 64 << 10;
constexpr size_t kMaxRefusal = 1 << 20;

class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds left) : end_(left.count() > 0 ? steady_ms() + left.count() : 0) {}
  // Waits for `events`; false at the deadline.
  bool wait(int fd, short events) const {
    pollfd descriptor{fd, events, 0};
    while (true) {
      int left = end_ == 0 ? -1 : static_cast<int>(std::max<int64_t>(0, end_ - steady_ms()));
      int n = ::poll(&descriptor, 1, left);
      if (n >= 0 || errno != EINTR) return n > 0;
    }
  }

 private:
  int64_t end_;
};

Result<Fd> connect_one(const ClientRequest& request, const sockaddr* address, socklen_t size) {
  auto socket = socket_in(request.netns_path, address->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (!socket) return socket;
  if (::connect(socket->get(), address, size) != 0) {
    if (errno != EINPROGRESS) return fail(Status::from_errno("connect"));
    if (!Deadline(request.connect_timeout).wait(socket->get(), POLLOUT)) return fail(Status::timeout("connect"));
    int error = 0;
    size = sizeof error;
    ::getsockopt(socket->get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail(Status::from_errno("connect", error));
  }
  int one = 1;
  ::setsockopt(socket->get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  ::setsockopt(socket->get(), SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  return socket;
}

Result<Fd> connect_to(const ClientRequest& request, const Url& url) {
  if (!request.unix_socket.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (request.unix_socket.size() >= sizeof address.sun_path) return fail(Status::bad_request("socket path too long"));
    std::memcpy(address.sun_path, request.unix_socket.data(), request.unix_socket.size());
    return connect_one(request, reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (int error = ::getaddrinfo(url.host.c_str(), std::to_string(url.port).c_str(), &hints, &found); error != 0)
    return fail(Status::unavailable(url.host + ": " + ::gai_strerror(error)));
  Result<Fd> socket = fail(Status::unavailable(url.host + ": no address"));
  for (addrinfo* one = found; one && !socket; one = one->ai_next)
    socket = connect_one(request, one->ai_addr, one->ai_addrlen);
  ::freeaddrinfo(found);
  return socket;
}

// The dialled connection up to the end of the response head.
class Dialled {
 public:
  Dialled(std::unique_ptr<Transport> transport, std::chrono::milliseconds timeout)
      : transport_(std::move(transport)), deadline_(timeout) {}

  Result<void> handshake() {
    while (true) {
      Io io = transport_->handshake();
      if (io == Io::ok) return {};
      if (io != Io::again) return fail(Status::unavailable("TLS handshake failed" + verify_failure()));
      if (auto ok = wait(transport_->wants_write() ? POLLOUT : POLLIN); !ok) return ok;
    }
  }
  Result<void> write(std::string_view bytes) {
    while (!bytes.empty()) {
      size_t n = 0;
      iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
      Io io = transport_->write(&piece, 1, &n);
      bytes.remove_prefix(n);
      if (io == Io::ok) continue;
      if (io != Io::again) return fail(Status::unavailable("connection closed by peer"));
      if (auto ok = wait(transport_->wants_write() ? POLLOUT : POLLIN); !ok) return ok;
    }
    return {};
  }
  // Appends what comes to `in`; false at the end.
  Result<bool> read(std::string& in) {
    char buffer[8192];
    while (true) {
      size_t n = 0;
      Io io = transport_->read(buffer, sizeof buffer, &n);
      in.append(buffer, n);
      if (io == Io::ok) return true;
      if (io == Io::end) return false;
      if (io == Io::error) return fail(Status::unavailable("connection reset by peer"));
      if (auto ok = wait(POLLIN); !ok) return fail(ok.error());
    }
  }
  std::unique_ptr<Transport> release() { return std::move(transport_); }

 private:
  Result<void> wait(short events) {
    if (!deadline_.wait(transport_->fd(), events)) return fail(Status::timeout("the answer"));
    transport_->mark_readable(true);
    return {};
  }
  std::string verify_failure();

  std::unique_ptr<Transport> transport_;
  Deadline deadline_;
};

std::string Dialled::verify_failure() {
  std::string why = verify_error(transport_->ssl());
  return why.empty() ? "" : ": " + why;
}

std::string request_text(const ClientRequest& request, const Url& url) {
  std::string text = request.method + " " + url.target + " HTTP/1.1\r\n";
  if (!request.headers.has("Host")) text += "Host: " + url.authority + "\r\n";
  append_headers(text, request.headers);
  if (!request.body.empty()) text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  return text + "\r\n" + request.body;
}

Result<ClientResponse> parse_response_head(std::string_view head) {
  ClientResponse response;
  auto lines = split(head, '\n');
  auto words = split(trim(lines[0]), ' ');
  if (words.size() < 2 || !words[0].starts_with("HTTP/1."))
    return fail(Status::unavailable("the peer does not speak HTTP/1.1"));
  response.status = parse_int<int>(words[1]).value_or(0);
  for (size_t i = 1; i < lines.size(); ++i) {
    auto line = trim(lines[i]);
    auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    response.headers.add(std::string(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
  }
  return response;
}

// The body of a refusal, as far as it comes.
void read_refusal(Dialled& connection, std::string rest, ClientResponse& response) {
  bool chunked = to_lower(response.headers.get("Transfer-Encoding")) == "chunked";
  auto length = parse_int<uint64_t>(response.headers.get("Content-Length"));
  ChunkDecoder decoder(kMaxRefusal);
  while (true) {
    if (chunked) {
      size_t used = 0;
      auto state = decoder.feed(rest, response.body, used);
      rest.erase(0, used);
      if (state != ChunkDecoder::State::more) return;
    } else {
      response.body.append(std::exchange(rest, {}));
      if (response.body.size() >= std::min<uint64_t>(length.value_or(kMaxRefusal), kMaxRefusal)) return;
    }
    auto more = connection.read(rest);
    if (!more || !*more) return;
  }
}

Result<std::string> read_head(Dialled& connection, std::string& in) {
  while (true) {
    if (auto end = in.find("\r\n\r\n"); end != std::string::npos) {
      std::string head = in.substr(0, end + 2);
      in.erase(0, end + 4);
      return head;
    }
    if (in.size() > kMaxHead) return fail(Status::unavailable("the answer's head is too large"));
    auto more = connection.read(in);
    if (!more) return fail(more.error());
    if (!*more) return fail(Status::unavailable("connection closed before an answer"));
  }
}

}  // namespace

Result<Upgraded> dial_upgrade(const ClientRequest& request, const ClientTls& tls, ClientResponse* refused) {
  auto url = parse_url(request.url);
  if (!url) return fail(url.error());
  std::string what = "dial " + url->authority;
  auto socket = connect_to(request, *url);
  if (!socket) return fail(Status::unavailable(what + ": " + socket.error().message()));
  SslPtr ssl;
  if (url->scheme == "https") {
    auto context = client_context(tls);
    if (!context) return fail(context.error());
    ssl = connect_ssl(*context, tls.server_name.empty() ? url->host : tls.server_name, tls.verify);
  }
  Dialled connection(std::make_unique<Transport>(std::move(*socket), std::move(ssl)), request.timeout);
  if (auto ok = connection.handshake(); !ok) return fail(ok.error().with_context(what));
  if (auto ok = connection.write(request_text(request, *url)); !ok) return fail(ok.error().with_context(what));
  std::string in;
  Result<ClientResponse> response = ClientResponse();
  do {
    auto head = read_head(connection, in);
    if (!head) return fail(head.error().with_context(what));
    response = parse_response_head(*head);
    if (!response) return fail(response.error().with_context(what));
  } while (response->status >= 100 && response->status < 200 && response->status != 101);
  if (response->status != 101) {
    read_refusal(connection, std::move(in), *response);
    Status status(response->status, "", "unable to upgrade connection: " + response->body);
    if (refused) *refused = std::move(*response);
    return fail(std::move(status));
  }
  auto tunnel = std::make_shared<SocketTunnel>(connection.release(), std::move(in));
  return Upgraded{share_tunnel(std::move(tunnel)), std::move(response->headers)};
}

void splice(Tunnel& a, Tunnel& b) {
  auto copy = [](Tunnel& from, Tunnel& to) {
    auto buffer = std::make_unique<char[]>(32768);
    while (true) {
      auto n = from.read(buffer.get(), 32768);
      if (n && *n == 0) return to.close_write();
      if (n && to.write({buffer.get(), *n})) continue;
      from.close();
      return to.close();
    }
  };
  std::thread back([&] { copy(b, a); });
  copy(a, b);
  back.join();
}

}  // namespace kcube::http
