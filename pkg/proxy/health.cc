#include "pkg/proxy/health.h"

#include "pkg/api/json.h"
#include "pkg/api/object.h"

namespace kcube::proxy {
namespace {

constexpr size_t kMaxThreads = 2, kMaxConnections = 64;

}  // namespace

std::pair<int, std::string> HealthPorts::answer(const std::string& service) const {
  size_t count = 0;
  {
    std::lock_guard lock(mutex_);
    if (auto it = entries_.find(service); it != entries_.end()) count = it->second.local_endpoints;
  }
  auto [ns, name] = api::split_key(service);
  json::object body{
      {"service", json::object{{"namespace", json::key(ns)}, {"name", json::key(name)}}},
      {"localEndpoints", count},
      {"serviceProxyHealthy", true},
  };
  return {count > 0 ? 200 : 503, json::serialize(json::value(std::move(body)))};
}

Result<void> HealthPorts::set(const std::string& service, uint16_t port, size_t local_endpoints) {
  std::unique_ptr<http::Server> old;
  {
    std::lock_guard lock(mutex_);
    Entry& entry = entries_[service];
    entry.local_endpoints = local_endpoints;
    if (entry.port == port && (port == 0 || entry.server)) {
      if (port == 0) entries_.erase(service);
      return {};
    }
    old = std::move(entry.server);
    entry.port = port;
    if (port == 0) entries_.erase(service);
  }
  old.reset();
  if (port == 0) return {};
  http::ServerOptions options;
  options.port = port;
  options.tls = false;
  options.max_threads = kMaxThreads;
  options.max_connections = kMaxConnections;
  auto server =
      http::Server::create(options, [this, service](http::Request&, std::unique_ptr<http::Responder> responder) {
        auto [status, body] = answer(service);
        http::Headers headers;
        headers.set("Content-Type", "application/json");
        headers.set("X-Content-Type-Options", "nosniff");
        headers.set("X-Load-Balancing-Endpoint-Weight", std::to_string(status == 200 ? 1 : 0));
        responder->respond(status, std::move(headers), std::move(body));
      });
  if (!server) return fail(server.error());
  (*server)->start();
  std::lock_guard lock(mutex_);
  entries_[service].server = std::move(*server);
  return {};
}

void HealthPorts::stop() {
  std::map<std::string, Entry> all;
  {
    std::lock_guard lock(mutex_);
    all.swap(entries_);
  }
}

}  // namespace kcube::proxy
