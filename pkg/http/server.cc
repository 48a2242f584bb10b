#include "pkg/http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pkg/http/reactor.h"
#include "pkg/http/tls.h"

namespace kcube::http {
namespace {

Status bind_failure(const std::string& where, int os_error) {
  if (os_error == EADDRINUSE)
    return Status(409, "KC_PORT_IN_USE", where + " is in use by another process; stop it or choose another port");
  return Status::from_errno("listen on " + where, os_error);
}

// A socket file whose process is gone may be replaced.
bool nobody_listens(const sockaddr_un& address) {
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
         errno == ECONNREFUSED;
}

Result<Listener> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(Status::bad_request("socket path too long: " + path));
  std::memcpy(address.sun_path, path.data(), path.size());
  if (nobody_listens(address)) ::unlink(path.c_str());
  Listener listener;
  listener.fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.fd) return fail(Status::from_errno("socket"));
  ::fchmod(listener.fd.get(), 0600);  // the file is born with this mode
  if (::bind(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.fd.get(), 1024) != 0)
    return fail(bind_failure(path, errno));
  listener.unix_path = path;
  return listener;
}

Result<Listener> listen_tcp(const std::string& address, uint16_t port, bool tls) {
  sockaddr_storage storage{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  socklen_t size = sizeof *v4;
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    storage.ss_family = AF_INET;
    v4->sin_port = htons(port);
  } else if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    storage.ss_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof *v6;
  } else {
    return fail(Status::bad_request("not an IP address to listen on: " + address));
  }
  std::string where = address + " port " + std::to_string(port);
  Listener listener;
  listener.fd.reset(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.fd) return fail(Status::from_errno("socket"));
  int one = 1;
  ::setsockopt(listener.fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(listener.fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0 ||
      ::listen(listener.fd.get(), 4096) != 0)
    return fail(bind_failure(where, errno));
  size = sizeof storage;
  ::getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&storage), &size);
  listener.port = ntohs(storage.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
  listener.tls = tls;
  return listener;
}

class ReactorServer final : public Server {
 public:
  ReactorServer(std::shared_ptr<Reactor> reactor, uint16_t port) : reactor_(std::move(reactor)), port_(port) {}
  ~ReactorServer() override { reactor_->finish(); }
  void start() override { reactor_->start(); }
  void stop(std::chrono::milliseconds deadline) override { reactor_->stop(deadline); }
  uint16_t port() const override { return port_; }
  Result<void> set_certificate(const TlsOptions& tls) override {
    auto context = server_context(tls);
    if (!context) return fail(context.error());
    reactor_->set_context(std::move(*context));
    return {};
  }
  size_t connections() const override { return reactor_->connections(); }
  void run(std::function<void()> task) override { reactor_->post(std::move(task)); }

 private:
  std::shared_ptr<Reactor> reactor_;
  uint16_t port_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(ServerOptions options, Handler handler) {
  TlsContext context;
  if (options.tls) {
    auto made = server_context(options.tls_options);
    if (!made) return fail(made.error());
    context = std::move(*made);
  }
  auto addresses = options.more;
  addresses.insert(addresses.begin(), {options.address, options.port});
  auto reactor = std::make_shared<Reactor>(options, std::move(handler), std::move(context));
  if (auto ok = reactor->open(); !ok) return fail(ok.error());
  uint16_t port = 0;
  for (const auto& [address, number] : addresses) {
    auto listener = address.starts_with('/') ? listen_unix(address) : listen_tcp(address, number, options.tls);
    if (!listener) return fail(listener.error());
    if (port == 0) port = listener->port;
    reactor->add_listener(std::move(*listener));
  }
  return std::make_unique<ReactorServer>(std::move(reactor), port);
}

}  // namespace kcube::http
