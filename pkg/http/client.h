// The HTTP client: requests over libcurl on one I/O thread, and dialled tunnels for upgrades. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "pkg/http/server.h"

namespace kcube::http {

struct ClientTls {
  std::string ca_pem;                    // empty with verify: the system's
  std::string certificate_pem, key_pem;  // client certificate, may be empty
  std::string server_name;               // name to verify instead of the URL's host
  bool verify = true;
};

struct ClientRequest {
  std::string method = "GET";
  std::string url;  // https://host:port/path?query
  Headers headers;
  std::string body;
  std::chrono::milliseconds timeout{std::chrono::seconds(30)};  // 0: none (watches)
  std::chrono::milliseconds connect_timeout{std::chrono::seconds(5)};
  bool follow_redirects = false;
  bool http2_prior_knowledge = false;  // gRPC probes
  bool own_connection = false;  // neither one that was open already nor left open after: probes ask who listens now
  // Connect from inside this network namespace when set. Such connections are never shared nor reused, because the same
  // address means another host elsewhere; names are resolved in the caller's namespace.
  std::string netns_path;
  std::string unix_socket;         // connect to this socket instead of the URL's host when set
  bool environment_proxy = false;  // obey https_proxy and its kin: for registries, never inside the cluster
  uint64_t max_body_bytes = uint64_t{256} << 20;  // send() fails beyond
};

struct ClientResponse {
  int status = 0;
  Headers headers;  // and trailers behind them
  std::string body;
};

// A request whose body arrives piece by piece; destroying it cancels, and waits for a callback that runs right now
// (unless called from inside it): no callback comes afterwards.
class ClientStream {
 public:
  virtual ~ClientStream() = default;
};

class Client {
 public:
  // One pool of connections per Client; `tls` holds for all of its requests.
  static std::unique_ptr<Client> create(ClientTls tls);
  virtual ~Client() = default;
  // Fails (503 ServiceUnavailable, or 504 after the timeout) only when no response came; a 4xx or 5xx is a response.
  virtual Result<ClientResponse> send(const ClientRequest& request) = 0;
  // `on_head` once, `on_data` per piece, `on_end` once (a failure when the connection broke), all on the I/O thread:
  // they must not block.
  virtual Result<std::unique_ptr<ClientStream>> open(const ClientRequest& request,
                                                     std::function<void(int status, const Headers&)> on_head,
                                                     std::function<void(std::string_view)> on_data,
                                                     std::function<void(Result<void>)> on_end) = 0;
  // New connections use the new certificate; for rotation.
  virtual void set_tls(ClientTls tls) = 0;
};

// Sends `request` and, when the server answers 101, returns the tunnel and the response headers; any other answer is
// returned in `refused` (status and body) with a failing result of the same code.
struct Upgraded {
  std::unique_ptr<Tunnel> tunnel;
  Headers headers;
};
Result<Upgraded> dial_upgrade(const ClientRequest& request, const ClientTls& tls, ClientResponse* refused);

// Copies bytes both ways until both sides are done or one fails.
void splice(Tunnel& a, Tunnel& b);

}  // namespace kcube::http
