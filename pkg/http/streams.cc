#include "pkg/http/streams.h"

#include <algorithm>

#include "pkg/base/strings.h"
#include "pkg/http/response.h"
#include "pkg/http/streams_internal.h"
#include "pkg/http/websocket.h"

namespace kcube::http {
namespace {

constexpr size_t kMaxResize = 4096;

// The number behind `"name":` in a flat JSON object; 0 when there is none.
uint16_t number_of(std::string_view object, std::string_view name) {
  auto at = object.find(name);
  if (at == std::string_view::npos) return 0;
  auto rest = object.substr(at + name.size());
  auto start = rest.find_first_of("0123456789");
  if (start == std::string_view::npos || rest.substr(0, start).find_first_not_of("\": \t") != std::string_view::npos)
    return 0;
  rest.remove_prefix(start);
  auto end = rest.find_first_not_of("0123456789");
  return parse_int<uint16_t>(rest.substr(0, end)).value_or(0);
}

}  // namespace

bool wants_spdy(const Request& request) {
  bool upgrade = false, spdy = false;
  for (auto value : request.headers.all("Connection")) upgrade |= to_lower(value).find("upgrade") != std::string::npos;
  for (auto value : request.headers.all("Upgrade")) spdy |= to_lower(value).find("spdy/3.1") != std::string::npos;
  return upgrade && spdy;
}

bool wants_upgrade(const Request& request) { return wants_websocket(request) || wants_spdy(request); }

std::vector<std::string> offered_stream_protocols(const Request& request) {
  std::vector<std::string> offered;
  for (auto value : request.headers.all("X-Stream-Protocol-Version"))
    for (auto part : split(value, ','))
      if (!trim(part).empty()) offered.emplace_back(trim(part));
  return offered;
}

std::unexpected<Status> refuse_upgrade(Responder& responder, Status status, Headers headers) {
  headers.add("Content-Type", "application/json");
  responder.respond(status.code(), std::move(headers), status_json(status));
  return fail(std::move(status));
}

Result<std::unique_ptr<Tunnel>> accept_spdy(std::unique_ptr<Responder> responder, const std::string& protocol) {
  Headers headers;
  headers.add("Connection", "Upgrade");
  headers.add("Upgrade", "SPDY/3.1");
  if (!protocol.empty()) headers.add("X-Stream-Protocol-Version", protocol);
  return responder->upgrade(std::move(headers));
}

std::string plain_outcome(const std::string& status_json) {
  if (status_json.find("\"status\":\"Success\"") != std::string::npos) return {};
  static constexpr std::string_view kMember = "\"message\":\"";
  auto at = status_json.find(kMember);
  if (at == std::string::npos) return "command failed";
  std::string text;
  for (size_t i = at + kMember.size(); i < status_json.size() && status_json[i] != '"'; ++i) {
    if (status_json[i] == '\\' && i + 1 < status_json.size()) {
      char c = status_json[++i];
      text.push_back(c == 'n' ? '\n' : c == 't' ? '\t' : c);
    } else {
      text.push_back(status_json[i]);
    }
  }
  return text;
}

void ResizeReader::feed(std::string_view bytes) {
  rest_.append(bytes);
  for (auto end = rest_.find('}'); end != std::string::npos; end = rest_.find('}')) {
    std::string_view object(rest_.data(), end);
    uint16_t width = number_of(object, "Width"), height = number_of(object, "Height");
    if (callback_ && width > 0 && height > 0) callback_(width, height);
    rest_.erase(0, end + 1);
  }
  if (rest_.size() > kMaxResize) rest_.clear();
}

Result<std::unique_ptr<RemoteCommand>> accept_remote_command(const Request& request,
                                                             std::unique_ptr<Responder> responder,
                                                             const RemoteCommandOptions& options) {
  if (!options.stdin && !options.stdout && !options.stderr)
    return refuse_upgrade(*responder, Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
  if (wants_websocket(request)) return websocket_remote_command(request, std::move(responder), options);
  if (wants_spdy(request)) return spdy_remote_command(request, std::move(responder), options);
  return refuse_upgrade(*responder, Status(400, "BadRequest", "Upgrade request required"));
}

}  // namespace kcube::http
