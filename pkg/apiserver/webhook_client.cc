#include "pkg/apiserver/webhook_client.h"

#include "pkg/apiserver/service_endpoints.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxClients = 256;
constexpr uint64_t kMaxAnswer = uint64_t{16} << 20;
constexpr size_t kMaxWords = 2048;

// Go's Duration: "10s", "1m0s", "500ms".
std::string duration_text(milliseconds d) {
  int64_t ms = d.count();
  if (ms % 1000 != 0) return std::to_string(ms) + "ms";
  int64_t s = ms / 1000;
  return s < 60 ? std::to_string(s) + "s" : std::to_string(s / 60) + "m" + std::to_string(s % 60) + "s";
}

std::unexpected<Status> failed_post(const std::string& url, std::string_view why) {
  return fail(Status::internal("Post \"" + url + "\": " + std::string(why)));
}

// libcurl's words for a broken connection, in those of Go's net/http, which people look for.
std::string reason_of(const Status& status, const std::string& address) {
  if (status.code() == 504) return "context deadline exceeded";
  const std::string& text = status.message();
  auto has = [&](std::string_view piece) { return text.find(piece) != std::string::npos; };
  if (has("self-signed certificate") || has("self signed certificate") || has("unable to get local issuer") || has("unable to get issuer"))
    return "tls: failed to verify certificate: x509: certificate signed by unknown authority";
  if (has("certificate has expired") || has("certificate is not yet valid"))
    return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid";
  if (has("no alternative certificate subject name")) return "tls: failed to verify certificate: x509: certificate is not valid for the name it was asked by";
  if (size_t at = text.find(": connect: "); at != std::string::npos) return "dial tcp " + address + text.substr(at);
  if (has("Connection refused") || has("Couldn't connect") || has("Could not connect") || has("Failed to connect"))
    return "dial tcp " + address + ": connect: connection refused";
  if (has("Could not resolve host")) return "dial tcp: lookup " + address.substr(0, address.rfind(':')) + ": no such host";
  if (has("Empty reply")) return "EOF";
  size_t colon = text.rfind(": ");
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

// What a client makes of an answer that is neither 200 nor a Status.
std::string words_of(const http::ClientResponse& answer) {
  std::string body(trim(std::string_view(answer.body).substr(0, kMaxWords)));
  switch (answer.status) {
    case 400: return "the server rejected our request for an unknown reason";
    case 401: return "the server has asked for the client to provide credentials";
    case 403: return "the server does not allow access to the requested resource";
    case 404: return "the server could not find the requested resource";
    case 405: return "the server does not allow this method on the requested resource";
    case 413: return "the server responded with the status code 413 but did not return more information";
    case 429: return "the server has received too many requests and has asked us to try again later";
    case 503: return "the server is currently unable to handle the request";
    case 504: return "the server was unable to return a response in the time allotted, but may still be processing the request";
  }
  if (answer.status >= 500) return "an error on the server (\"" + body + "\") has prevented the request from succeeding";
  return "the server responded with the status code " + std::to_string(answer.status) + " but did not return more information";
}

std::string port_name_of(const json::value& service, int64_t port, bool& found) {
  for (const json::value& p : json::get_array(json::at(&service, {"spec", "ports"}))) {
    if (json::get_int(p, {"port"}) != port) continue;
    found = true;
    return std::string(json::get_string(p, {"name"}));
  }
  return {};
}

}  // namespace

Result<WebhookClient::Target> WebhookClient::locate(const json::value& config, milliseconds timeout) const {
  std::string query = "timeout=" + duration_text(timeout);
  if (const json::value* url = json::find(&config, "url"); url != nullptr && !json::get_string(url).empty()) {
    std::string text(json::get_string(url));
    text += (text.find('?') == std::string::npos ? "?" : "&") + query;
    std::string host = text.substr(text.find("://") == std::string::npos ? 0 : text.find("://") + 3);
    host = host.substr(0, host.find_first_of("/?"));
    return Target{text, text, host, ""};
  }
  const json::value* reference = json::find(&config, "service");
  if (reference == nullptr) return fail(Status::internal("webhook configuration must have either service or URL"));
  std::string name(json::get_string(*reference, {"name"})), ns(json::get_string(*reference, {"namespace"}));
  std::string path(json::get_string(*reference, {"path"}));
  if (!path.starts_with('/')) path = "/" + path;
  int64_t port = json::get_int(*reference, {"port"}, 443);
  Target target;
  target.verify_name = name + "." + ns + ".svc";
  target.host = target.verify_name + ":" + std::to_string(port);
  std::string rest = path + "?" + query;
  target.shown = "https://" + target.host + rest;
  ObjectPtr service = core_.get("", "services", ns, name);
  if (!service) return failed_post(target.shown, "service \"" + name + "\" not found");
  if (json::get_string(service->value(), {"spec", "type"}) == "ExternalName") {
    target.url = "https://" + std::string(json::get_string(service->value(), {"spec", "externalName"})) + ":" + std::to_string(port) + rest;
    return target;
  }
  bool found = false;
  std::string port_name = port_name_of(service->value(), port, found);
  if (!found) return failed_post(target.shown, "no service port " + std::to_string(port) + " found for service \"" + name + "\"");
  std::string endpoint = choose_endpoint(core_, ns, name, port_name);
  if (endpoint.empty()) return failed_post(target.shown, "no endpoints available for service \"" + name + "\"");
  target.url = "https://" + endpoint + rest;
  return target;
}

std::shared_ptr<http::Client> WebhookClient::client_for(const std::string& ca_pem, const std::string& server_name) {
  std::lock_guard lock(mutex_);
  auto& client = clients_[{ca_pem, server_name}];
  if (client) return client;
  std::shared_ptr<http::Client> made = http::Client::create({.ca_pem = ca_pem, .server_name = server_name});
  // Rotated certificates leave old entries behind; calls on their way hold what they use.
  if (clients_.size() > kMaxClients) {
    clients_.clear();
    return clients_[{ca_pem, server_name}] = made;
  }
  return client = made;
}

Result<json::value> WebhookClient::post(const json::value& config, const json::value& review, milliseconds timeout) {
  auto target = locate(config, timeout);
  if (!target) return fail(target.error());
  auto ca = base64_decode(json::get_string(json::find(&config, "caBundle")));
  http::ClientRequest request;
  request.method = "POST";
  request.url = target->url;
  request.headers.add("Host", target->host);
  request.headers.add("Content-Type", "application/json");
  request.headers.add("Accept", "application/json, */*");
  request.headers.add("User-Agent", "kube-apiserver-admission");
  request.body = json::serialize(review);
  request.timeout = timeout;
  request.connect_timeout = timeout;
  request.max_body_bytes = kMaxAnswer;
  auto answer = client_for(ca.value_or(""), target->verify_name)->send(request);
  if (!answer) {
    std::string_view address = std::string_view(target->url).substr(std::string_view("https://").size());
    return failed_post(target->shown, reason_of(answer.error(), std::string(address.substr(0, address.find_first_of("/?")))));
  }
  if (answer->status != 200) return fail(Status::internal(words_of(*answer)));
  auto body = json::parse(answer->body);
  if (!body) return fail(Status::internal("couldn't get version/kind; json parse error: " + body.error().message()));
  return body;
}

}  // namespace kcube::apiserver
