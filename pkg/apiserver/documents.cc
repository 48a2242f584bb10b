#include "pkg/apiserver/documents.h"

#include <sys/utsname.h>

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/api/json.h"
#include "pkg/apiserver/diagnostics.h"
#include "pkg/apiserver/extension/open_api.h"
#include "pkg/apiserver/machinery/openapi.h"
#include "pkg/apiserver/machinery/openapi_proto.h"
#include "pkg/apiserver/output.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kHealth[] = {"/healthz", "/livez", "/readyz"};

std::string etag_of(std::string_view body) { return "\"" + std::to_string(stable_hash(body)) + "\""; }

// The first alternative that we have.
bool wants_protobuf(std::string_view accept) {
  for (std::string_view one : split(accept, ',')) {
    if (one.find("proto-openapi.spec.v2") != std::string_view::npos) return true;
    if (one.find("json") != std::string_view::npos || one.find("*/*") != std::string_view::npos) return false;
  }
  return false;
}

// What stands in a document of discovery: the groups of /api and /apis and /apis/GROUP, or the resources of a version.
constexpr int kOfGroups = 0, kOfResources = 1;
int depth_of(std::string_view path) {
  const auto slashes = std::ranges::count(path, '/');
  return slashes == (path.starts_with("/apis") ? 3 : 2) ? kOfResources : kOfGroups;
}

bool is_acceptable(std::string_view accept, std::initializer_list<std::string_view> types) {
  if (trim(accept).empty()) return true;
  for (std::string_view one : split(accept, ',')) {
    std::string_view type = trim(one.substr(0, one.find(';')));
    if (type == "*/*" || std::ranges::find(types, type) != types.end()) return true;
  }
  return false;
}

// Otherwise answers by itself.
bool accepts_discovery(std::string_view path, const http::Request& request, http::Responder& responder) {
  std::string_view accept = request.headers.get("Accept");
  if (is_acceptable(accept, {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"})) return true;
  constexpr std::string_view kTypes = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
  if (depth_of(path) == kOfResources) respond_status(responder, Status(406, "NotAcceptable", "406: Not Acceptable\n\nAvailable representations: " + std::string(kTypes)));
  else if (is_acceptable(accept, {"application/*"})) return true;
  else respond_status(responder, api::not_acceptable(kTypes));
  return false;
}

}  // namespace

bool Documents::is_public(std::string_view path) {
  for (std::string_view h : kHealth)
    if (path == h || path.starts_with(std::string(h) + "/")) return true;
  return path == "/version" || path == "/version/" || path == "/cacerts";
}

void Documents::set_custom(extension::CustomResources custom) {
  std::vector<const api::ResourceInfo*> resources;
  for (const api::ResourceInfo& info : schema_.resources()) resources.push_back(&info);
  for (const auto& one : custom)
    for (const auto& version : one->versions())
      if (version->served) version->add_infos(resources);
  served_.store(std::make_shared<const Served>(Served{Discovery(resources), std::move(custom)}));
}

bool Documents::health(const http::Request& request, http::Responder& responder) const {
  for (std::string_view h : kHealth) {
    std::string_view path = request.path;
    if (path != h && !path.starts_with(std::string(h) + "/")) continue;
    // A server whose neighbours are not well need not be restarted.
    std::vector<HealthCheck> checks;
    for (std::string_view name : health_checks()) checks.push_back({std::string(name), nullptr});
    if (h != "/livez") checks.insert(checks.end(), checks_.begin(), checks_.end());
    // The parts of readiness, each under a path of its own as well.
    std::string_view one = path.substr(std::min(path.size(), h.size() + 1));
    if (one.empty()) return whole_health(std::string(h.substr(1)), checks, request, responder), true;
    auto part = std::ranges::find(checks, one, &HealthCheck::name);
    if (part == checks.end()) return false;
    auto well = part->check ? part->check() : Result<void>();
    respond_text(responder, well ? 200 : 500, well ? "ok" : "internal server error: " + well.error().message() + "\n");
    return true;
  }
  return false;
}

void Documents::whole_health(const std::string& name, const std::vector<HealthCheck>& checks, const http::Request& request, http::Responder& responder) {
  std::string text;
  bool all_well = true;
  for (const HealthCheck& part : checks) {
    const bool well = part.check == nullptr || part.check();
    all_well &= well;
    text += well ? "[+]" + part.name + " ok\n" : "[-]" + part.name + " failed: reason withheld\n";
  }
  if (!all_well) return respond_text(responder, 500, text + name + " check failed\n");
  respond_text(responder, 200, request.query.has("verbose") ? text + name + " check passed\n" : "ok");
}

std::string Documents::version_json() const {
  auto parts = split(std::string_view(version_).substr(1), '.');
  utsname machine{};
  ::uname(&machine);
  std::string arch = std::string_view(machine.machine) == "aarch64" ? "arm64" : "amd64";
  json::object v{{"major", json::key(parts[0])}, {"minor", json::key(parts[1])}, {"emulationMajor", json::key(parts[0])}, {"emulationMinor", json::key(parts[1])},
                 {"minCompatibilityMajor", json::key(parts[0])}, {"minCompatibilityMinor", std::to_string(parse_int<int>(parts[1]).value_or(36) - 1)},
                 {"gitVersion", version_ + "+kcube"}, {"gitCommit", ""}, {"gitTreeState", "clean"}, {"buildDate", "2026-01-01T00:00:00Z"}, {"goVersion", ""},
                 {"compiler", "g++"}, {"platform", "linux/" + arch}};
  return json::serialize(json::value(std::move(v)));
}

bool Documents::openapi(const http::Request& request, http::Responder& responder) const {
  std::string_view path = request.path;
  if (!path.starts_with("/openapi/")) return false;
  std::string body;
  bool v2 = path == "/openapi/v2";
  const machinery::CustomSchemas custom = extension::open_api(served_.load()->custom, v2);
  if (v2) body = machinery::openapi_v2(schema_, custom);
  else if (path == "/openapi/v3" || path == "/openapi/v3/") body = machinery::openapi_v3_index(schema_, custom);
  else if (path.starts_with("/openapi/v3/")) body = machinery::openapi_v3(schema_, custom, path.substr(12));
  if (body.empty() && path.starts_with("/openapi/v3/")) {
    responder.respond(404, {}, "");
    return true;
  }
  if (body.empty()) return false;
  if (aggregator_.active()) {
    if (path == "/openapi/v2") body = merged_.openapi_v2(body);
    else if (path == "/openapi/v3" || path == "/openapi/v3/") body = merged_.openapi_v3_index(body);
  }
  std::string_view type = "application/json";
  if (path == "/openapi/v2" && wants_protobuf(request.headers.get("Accept"))) {
    // Making it takes longer than sending it.
    std::lock_guard lock(encoded_.mutex);
    if (uint64_t hash = stable_hash(body); hash != encoded_.source) {
      encoded_.text = machinery::openapi_v2_proto(body);
      encoded_.source = hash;
    }
    body = encoded_.text;
    type = machinery::kOpenApiProtoType;
  }
  std::string etag = etag_of(body);
  http::Headers headers;
  headers.add("Content-Type", std::string(type));
  headers.add("Etag", etag);
  headers.add("Vary", "Accept");
  if (request.query.has("hash")) headers.add("Cache-Control", "public, immutable");
  if (request.headers.get("If-None-Match") == etag) {
    responder.respond(304, std::move(headers), "");
  } else {
    responder.respond(200, std::move(headers), std::move(body));
  }
  return true;
}

bool Documents::discovery(const std::string& path, const http::Request& request, http::Responder& responder) const {
  const bool extended = path.starts_with("/apis") && aggregator_.active();
  const auto served = served_.load();
  if (Discovery::wants_aggregated(request.headers.get("Accept"))) {
    if (const std::string* own = served->discovery.aggregated(path)) {
      std::string text = extended ? merged_.aggregated(*own) : *own;
      http::Headers headers;
      headers.add("Content-Type", Discovery::kAggregatedType);
      headers.add("Vary", "Accept");
      std::string etag = etag_of(text);
      headers.add("Etag", etag);
      if (request.headers.get("If-None-Match") == etag) responder.respond(304, std::move(headers), "");
      else responder.respond(200, std::move(headers), std::move(text));
      return true;
    }
  }
  const std::string* own = served->discovery.legacy(path);
  if (own != nullptr && !accepts_discovery(path, request, responder)) return true;
  std::string text = own == nullptr ? "" : *own;
  constexpr size_t kApis = sizeof("/apis/") - 1;
  if (extended && path == "/apis") text = merged_.groups(text);
  else if (extended && path.size() > kApis && path.find('/', kApis) == std::string::npos) text = merged_.group(std::string_view(path).substr(kApis), text);
  if (text.empty()) return false;
  respond_json(responder, 200, std::move(text));
  return true;
}

bool Documents::knows_group(const std::string& path) const { return served_.load()->discovery.legacy(path) != nullptr; }

bool Documents::serve(const http::Request& request, http::Responder& responder) const {
  if (health(request, responder)) return true;
  const bool version = request.path == "/version" || request.path == "/version/";
  const bool routed = version || served_.load()->discovery.legacy(request.path) != nullptr;
  // Groups are served whatever the method; what they hold is not.
  if (routed && request.method != "GET" && (version || depth_of(request.path) != kOfGroups)) {
    respond_status(responder, Status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
    return true;
  }
  if (request.method != "GET" && request.method != "HEAD" && !routed) return false;
  std::string path = request.path;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (version) {
    if (!is_acceptable(request.headers.get("Accept"), {"application/json"})) {
      respond_status(responder, Status(406, "NotAcceptable", "406: Not Acceptable\n\nAvailable representations: application/json"));
      return true;
    }
    respond_json(responder, 200, version_json());
    return true;
  }
  if (discovery(path, request, responder)) return true;
  if (openapi(request, responder)) return true;
  if (path == "/.well-known/openid-configuration") {
    json::array algorithms;
    for (const std::string& name : authenticator_.algorithms()) algorithms.push_back(json::value(name));
    json::object document{{"issuer", authenticator_.issuer()}, {"jwks_uri", authenticator_.jwks_uri()}, {"response_types_supported", json::array{json::value("id_token")}}, {"subject_types_supported", json::array{json::value("public")}}, {"id_token_signing_alg_values_supported", std::move(algorithms)}};
    respond_json(responder, 200, json::serialize(json::value(std::move(document))));
    return true;
  }
  if (path == "/cacerts") {
    respond_text(responder, 200, ca_pem_);
    return true;
  }
  if (path == "/openid/v1/jwks") {
    http::Headers headers;
    headers.add("Content-Type", "application/jwk-set+json");
    headers.add("Cache-Control", "public, max-age=3600");
    responder.respond(200, std::move(headers), authenticator_.jwks());
    return true;
  }
  if (path == "/") {
    json::array paths;
    for (const char* p : {"/api", "/api/v1", "/apis", "/flagz", "/healthz", "/livez", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/statusz", "/version"}) paths.push_back(json::value(p));
    respond_json(responder, 200, json::serialize(json::object{{"paths", std::move(paths)}}));
    return true;
  }
  return false;
}

}  // namespace kcube::apiserver
