// A server on loopback with a CA of its own, and a raw client for what no library would send.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <string>

#include "pkg/auth/auth.h"
#include "pkg/http/client.h"
#include "pkg/http/server.h"

namespace kcube::http {

inline const auth::KeyPair& test_ca() {
  static const auth::KeyPair ca = auth::make_ca("test-ca", std::chrono::hours(1)).value();
  return ca;
}

inline TlsOptions server_tls() {
  static const auth::KeyPair pair =
      auth::issue(test_ca(),
                  {.common_name = "server", .dns_names = {"kube.test"}, .ip_addresses = {"127.0.0.1"}, .server = true})
          .value();
  return {pair.certificate_pem, pair.key_pem, test_ca().certificate_pem};
}

inline ClientTls client_tls() { return {.ca_pem = test_ca().certificate_pem}; }

struct TestServer {
  explicit TestServer(Handler handler, ServerOptions options = {}, bool tls = true) {
    if (options.address == "0.0.0.0") options.address = "127.0.0.1";
    options.tls = tls;
    if (tls && options.tls_options.certificate_pem.empty()) options.tls_options = server_tls();
    server = Server::create(options, std::move(handler)).value();
    server->start();
    base = std::string(tls ? "https" : "http") + "://127.0.0.1:" + std::to_string(server->port());
  }
  std::unique_ptr<Server> server;
  std::string base;
};

// Something that happens later on another thread.
class Event {
 public:
  void set() {
    std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return done_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};

class RawClient {
 public:
  explicit RawClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void send(std::string_view text) {
    ASSERT_EQ(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Reads until the text so far contains `wanted`, or the end.
  std::string read_until(std::string_view wanted) {
    while (seen_.find(wanted) == std::string::npos) {
      pollfd descriptor{fd_.get(), POLLIN, 0};
      if (::poll(&descriptor, 1, 20000) <= 0) return seen_ + "<timeout>";
      char buffer[4096];
      ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n <= 0) return seen_ + "<end>";
      seen_.append(buffer, static_cast<size_t>(n));
    }
    return std::exchange(seen_, {});
  }
  std::string read_all() { return read_until("\x01never"); }
  void close() { fd_.reset(); }

 private:
  Fd fd_;
  std::string seen_;
};

// Answers with method, path and body.
inline void echo(Request& request, std::unique_ptr<Responder> responder) {
  responder->respond(200, {}, "[" + request.method + " " + request.path + " " + request.body + "]");
}

}  // namespace kcube::http
