// Passing a request on to another server and its answer back: kubelets, pods, services, extension API servers. Upgrades
// become tunnels, everything else streams as it comes.
//
// Each tunnel holds a thread of its own pool while it lives. Thread-safe. Source: RFC 9110 7.6 (intermediaries).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pkg/base/executor.h"
#include "pkg/http/client.h"

namespace kcube::apiserver {

// A kind of server that is reached in the same way.
struct Peer {
  explicit Peer(http::ClientTls t) : tls(std::move(t)), client(http::Client::create(tls)) {}
  const http::ClientTls tls;
  const std::unique_ptr<http::Client> client;
};

struct Target {
  std::string url;                                  // with path and query
  std::shared_ptr<const Peer> peer;
  // Who asks, for a peer that believes us: the client's own headers of that sort are left out.
  std::vector<std::pair<std::string, std::string>> headers;
  bool log = false;                                 // a refusal is words, for us to make a status of
  std::string links_to{};                           // a page's links to this host are led below this path; empty: they stay
};

class Forwarder {
 public:
  Forwarder() : tunnels_({"tunnel", 512, 512}) {}
  void stop() { tunnels_.stop(); }
  void tunnel(const Target& target, http::Request& request, std::unique_ptr<http::Responder> responder);
  void pass(const Target& target, const http::Request& request, std::unique_ptr<http::Responder> responder);

 private:
  Executor tunnels_;
};

}  // namespace kcube::apiserver
