#include "pkg/apiserver/forward.h"

#include <algorithm>
#include <mutex>
#include <optional>

#include "pkg/apiserver/html_links.h"
#include "pkg/apiserver/output.h"
#include "pkg/base/strings.h"
#include "pkg/http/streams.h"

namespace kcube::apiserver {
namespace {

// Hop-by-hop headers (RFC 9110 7.6.1) and those that say who asked.
bool is_hop_free(std::string_view name) {
  static constexpr std::string_view kDropped[] = {"host", "connection", "content-length", "transfer-encoding", "keep-alive", "te", "trailer", "upgrade", "authorization", "accept-encoding", "expect"};
  return std::ranges::find(kDropped, to_lower(name)) == std::end(kDropped);
}

// The caller's credentials and whom he wants to be end here; nor may he say who he is to whom believes our certificate.
bool is_forwarded(std::string_view name, const Target& target) {
  if (!is_hop_free(name)) return false;
  if (target.headers.empty()) return true;
  std::string lower = to_lower(name);
  return !lower.starts_with("x-remote-") && !lower.starts_with("impersonate-");
}

constexpr size_t kMaxWords = 2048;

// What a kubelet said in plain words, as a status.
Status refusal(int code, const std::string& words) {
  if (code == 400) return Status::bad_request(words);
  if (code == 500) return Status::internal("Internal error occurred: " + words);
  if (code == 404) return Status::not_found("the server could not find the requested resource");
  return Status(code, code == 403 ? "Forbidden" : code == 401 ? "Unauthorized" : "Unknown", words);
}

}  // namespace

void Forwarder::tunnel(const Target& target, http::Request& request, std::unique_ptr<http::Responder> responder) {
  http::ClientRequest out;
  out.method = request.method;
  out.url = target.url;
  for (const auto& [name, value] : request.headers.items()) {
    std::string lower = to_lower(name);
    if (is_forwarded(name, target) || lower == "connection" || lower == "upgrade") out.headers.add(name, value);
  }
  for (const auto& [name, value] : target.headers) out.headers.add(name, value);
  http::ClientResponse refused;
  auto upgraded = http::dial_upgrade(out, target.peer->tls, &refused);
  if (!upgraded) {
    if (refused.status == 0) return respond_status(*responder, Status::internal("error dialing backend: " + upgraded.error().message()));
    http::Headers headers;
    headers.add("Content-Type", std::string(refused.headers.get("Content-Type")));
    return responder->respond(refused.status, std::move(headers), std::move(refused.body));
  }
  http::Headers headers;
  for (const auto& [name, value] : upgraded->headers.items()) {
    std::string lower = to_lower(name);
    if (lower != "content-length" && lower != "transfer-encoding" && lower != "date") headers.add(name, value);
  }
  auto client = responder->upgrade(std::move(headers));
  if (!client) return;
  std::shared_ptr<http::Tunnel> a(std::move(*client)), b(std::move(upgraded->tunnel));
  if (!tunnels_.submit([a, b] { http::splice(*a, *b); })) a->close();
}

void Forwarder::pass(const Target& target, const http::Request& request, std::unique_ptr<http::Responder> responder) {
  http::ClientRequest out;
  out.method = request.method;
  out.url = target.url;
  out.body = request.body;
  out.timeout = std::chrono::milliseconds(0);
  for (const auto& [name, value] : request.headers.items())
    if (is_forwarded(name, target)) out.headers.add(name, value);
  for (const auto& [name, value] : target.headers) out.headers.add(name, value);
  // The three callbacks and the client's going away share what they need.
  struct Passing {
    std::mutex mutex;
    std::unique_ptr<http::Responder> responder;
    std::unique_ptr<http::Stream> stream;
    std::unique_ptr<http::ClientStream> source;
    std::optional<HtmlLinks> links;
    bool finished = false;
    int refused = 0;   // the kubelet says in words what is wrong with a request for logs
    std::string words;
  };
  bool log = target.log;
  auto passing = std::make_shared<Passing>();
  passing->responder = std::move(responder);
  Executor* reaper = &tunnels_;
  // Ending the request from one of its own callbacks would wait for itself.
  auto finish = [passing, reaper] {
    std::unique_ptr<http::ClientStream> source;
    {
      std::lock_guard lock(passing->mutex);
      passing->finished = true;
      if (passing->stream) passing->stream->close();
      source = std::move(passing->source);
    }
    if (!source) return;
    auto held = std::make_shared<std::unique_ptr<http::ClientStream>>(std::move(source));
    reaper->submit([held] { held->reset(); });
  };
  auto on_head = [passing, finish, log, prefix = target.links_to, host = std::string(request.headers.get("Host"))](int status, const http::Headers& head) {
    if (log && status >= 400) {
      passing->refused = status;
      return;
    }
    http::Headers headers;
    for (const auto& [name, value] : head.items())
      if (is_hop_free(name)) headers.add(name, !prefix.empty() && to_lower(name) == "location" ? rewrite_link(value, prefix, host) : value);
    if (!prefix.empty() && to_lower(head.get("Content-Type")).starts_with("text/html") && head.get("Content-Encoding").empty()) passing->links.emplace(prefix, host);
    std::unique_ptr<http::Stream> stream = passing->responder->stream(status, std::move(headers));
    stream->on_close(finish);
    std::lock_guard lock(passing->mutex);
    passing->stream = std::move(stream);
  };
  auto on_data = [passing](std::string_view piece) {
    std::lock_guard lock(passing->mutex);
    if (passing->refused != 0 && passing->words.size() < kMaxWords) passing->words += piece.substr(0, kMaxWords - passing->words.size());
    std::string text = passing->links ? passing->links->feed(piece) : std::string(piece);
    if (passing->stream && !text.empty()) passing->stream->write(std::make_shared<const std::string>(std::move(text)));
  };
  auto on_end = [passing, finish](Result<void> result) {
    if (!result && !passing->stream) {
      respond_status(*passing->responder, Status::unavailable("error trying to reach service: " + result.error().message()));
      passing->responder.reset();
    } else if (passing->refused != 0) {
      respond_status(*passing->responder, refusal(passing->refused, passing->words));
      passing->responder.reset();
    }
    {
      std::lock_guard lock(passing->mutex);
      std::string rest = passing->links ? passing->links->finish() : std::string();
      if (passing->stream && !rest.empty()) passing->stream->write(std::make_shared<const std::string>(std::move(rest)));
    }
    finish();
  };
  auto source = target.peer->client->open(out, on_head, on_data, on_end);
  if (!source) return respond_status(*passing->responder, Status::unavailable("error trying to reach service: " + source.error().message()));
  std::unique_ptr<http::ClientStream> done;
  std::lock_guard lock(passing->mutex);
  if (passing->finished) done = std::move(*source);
  else passing->source = std::move(*source);
}

}  // namespace kcube::apiserver
