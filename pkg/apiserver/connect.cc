#include "pkg/apiserver/connect.h"

#include <algorithm>
#include <mutex>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/output.h"
#include "pkg/apiserver/service_endpoints.h"
#include "pkg/base/strings.h"
#include "pkg/http/streams.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kSubresources[] = {"log", "exec", "attach", "portforward", "proxy"};

// Hop-by-hop headers (RFC 9110 7.6.1) and those that say who asked.
bool is_forwarded(std::string_view name) {
  static constexpr std::string_view kDropped[] = {"host", "connection", "content-length", "transfer-encoding", "keep-alive", "te", "trailer", "upgrade", "authorization", "accept-encoding", "expect"};
  return std::ranges::find(kDropped, to_lower(name)) == std::end(kDropped);
}

// "name", "name:port", "scheme:name:port".
struct ProxyName {
  std::string scheme = "http", name, port;
};

ProxyName parse_proxy_name(std::string_view text) {
  auto parts = split(text, ':');
  ProxyName p;
  size_t at = 0;
  if (parts.size() == 3) p.scheme = parts[at++].empty() ? "http" : std::string(parts[0]);
  p.name = parts[at++];
  if (at < parts.size()) p.port = parts[at];
  return p;
}

std::string with_query(std::string url, const http::Request& request) {
  if (!request.raw_query.empty()) url += "?" + request.raw_query;
  return url;
}

// The container that a request without ?container= means.
Result<std::string> choose_container(const api::Object& pod, std::string_view asked, std::string_view purpose) {
  const json::value* spec = json::find(&pod.value(), "spec");
  std::vector<std::string> names;
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"})
    for (const json::value& c : json::get_array(json::find(spec, list))) names.emplace_back(json::get_string(c, {"name"}));
  if (!asked.empty()) {
    if (std::ranges::find(names, asked) == names.end())
      return fail(Status::bad_request("container " + std::string(asked) + " is not valid for pod " + std::string(pod.name())));
    return std::string(asked);
  }
  if (json::get_array(json::find(spec, "containers")).size() == 1) return names[0];
  (void)purpose;
  std::string_view fallback = json::get_string(json::find(json::at(&pod.value(), {"metadata", "annotations"}), "kubectl.kubernetes.io/default-container"));
  if (!fallback.empty()) return std::string(fallback);
  size_t regular = json::get_array(json::find(spec, "containers")).size();
  std::string list, init;
  for (size_t i = 0; i < names.size(); ++i) (i < regular ? list : init) += (i == 0 || i == regular ? "" : " ") + names[i];
  std::string message = "a container name must be specified for pod " + std::string(pod.name()) + ", choose one of: [" + list + "]";
  if (!init.empty()) message += " or one of the init containers: [" + init + "]";
  return fail(Status::bad_request(message));
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

Connector::Connector(Core& core, http::ClientTls kubelet)
    : core_(core), kubelet_tls_(std::move(kubelet)), kubelets_(http::Client::create(kubelet_tls_)), plain_(http::Client::create({.verify = false})),
      tunnels_({"tunnel", 512, 512}) {}

Connector::~Connector() { stop(); }
void Connector::stop() { tunnels_.stop(); }

bool Connector::handles(const Resource& r) { return std::ranges::find(kSubresources, r.subresource()) != std::end(kSubresources); }

Result<std::string> Connector::kubelet_url(std::string_view node) const {
  ObjectPtr object = core_.get("", "nodes", "", node);
  if (!object) return fail(api::not_found("", "nodes", node));
  const json::value& n = object->value();
  std::string host;
  for (const char* type : {"InternalIP", "ExternalIP", "Hostname"}) {
    for (const json::value& a : json::get_array(json::at(&n, {"status", "addresses"})))
      if (host.empty() && json::get_string(a, {"type"}) == type) host = json::get_string(a, {"address"});
  }
  if (host.empty()) return fail(Status::unavailable("no preferred addresses found; known addresses: []"));
  int64_t port = json::get_int(n, {"status", "daemonEndpoints", "kubeletEndpoint", "Port"}, 10250);
  return "https://" + host + ":" + std::to_string(port);
}

Result<Connector::Target> Connector::pod_log(const Call& call, const http::Request& request) const {
  ObjectPtr pod = core_.get("", "pods", call.ns, call.name);
  if (!pod) return fail(api::not_found("", "pods", call.name));
  auto container = choose_container(*pod, request.query.get("container"), "log");
  if (!container) return fail(container.error());
  std::string_view node = json::get_string(pod->value(), {"spec", "nodeName"});
  // Nothing has run yet: an empty log, as the real server answers.
  if (node.empty()) return Target{};
  auto base = kubelet_url(node);
  if (!base) return fail(base.error());
  return Target{with_query(*base + "/containerLogs/" + call.ns + "/" + call.name + "/" + *container, request), true, true};
}

Result<Connector::Target> Connector::pod_stream(const Call& call, const http::Request& request) const {
  ObjectPtr pod = core_.get("", "pods", call.ns, call.name);
  if (!pod) return fail(api::not_found("", "pods", call.name));
  std::string_view phase = json::get_string(pod->value(), {"status", "phase"}), sub = call.resource->subresource();
  if (sub != "portforward" && (phase == "Succeeded" || phase == "Failed"))
    return fail(Status::bad_request("cannot exec into a container in a completed pod; current phase is " + std::string(phase)));
  std::string_view node = json::get_string(pod->value(), {"spec", "nodeName"});
  if (node.empty()) return fail(Status::bad_request("pod " + call.name + " does not have a host assigned"));
  auto base = kubelet_url(node);
  if (!base) return fail(base.error());
  std::string where = call.ns + "/" + call.name;
  if (sub == "portforward") return Target{with_query(*base + "/portForward/" + where, request), true};
  auto container = choose_container(*pod, request.query.get("container"), sub);
  if (!container) return fail(container.error());
  return Target{with_query(*base + "/" + std::string(sub) + "/" + where + "/" + *container, request), true};
}

Result<Connector::Target> Connector::pod_proxy(const Call& call, const RequestInfo& info, const http::Request& request) const {
  ProxyName name = parse_proxy_name(call.name);
  ObjectPtr pod = core_.get("", "pods", call.ns, name.name);
  if (!pod) return fail(api::not_found("", "pods", name.name));
  std::string_view ip = json::get_string(pod->value(), {"status", "podIP"});
  if (ip.empty()) return fail(Status::bad_request("address not allowed"));
  if (name.port.empty()) {
    for (const json::value& c : json::get_array(json::at(&pod->value(), {"spec", "containers"})))
      for (const json::value& p : json::get_array(json::find(&c, "ports")))
        if (name.port.empty()) name.port = std::to_string(json::get_int(p, {"containerPort"}));
  }
  std::string url = name.scheme + "://" + std::string(ip) + (name.port.empty() ? "" : ":" + name.port);
  return Target{with_query(url + (info.rest.empty() ? "/" : info.rest), request), false};
}

Result<Connector::Target> Connector::service_proxy(const Call& call, const RequestInfo& info, const http::Request& request) const {
  ProxyName name = parse_proxy_name(call.name);
  ObjectPtr service = core_.get("", "services", call.ns, name.name);
  if (!service) return fail(api::not_found("", "services", name.name));
  std::string port_name;
  bool found = false;
  const json::array& ports = json::get_array(json::at(&service->value(), {"spec", "ports"}));
  for (const json::value& p : ports) {
    std::string_view own = json::get_string(p, {"name"});
    bool match = name.port.empty() ? ports.size() == 1 : own == name.port || std::to_string(json::get_int(p, {"port"})) == name.port;
    if (!match || found) continue;
    found = true;
    port_name = own;
  }
  if (!found) return fail(Status::unavailable("no service port \"" + name.port + "\" found for service \"" + name.name + "\""));
  std::string endpoint = choose_endpoint(core_, call.ns, name.name, port_name);
  if (endpoint.empty()) return fail(Status::unavailable("no endpoints available for service \"" + call.name + "\""));
  std::string url = name.scheme + "://" + endpoint;
  return Target{with_query(url + (info.rest.empty() ? "/" : info.rest), request), false};
}

// PodExecOptions and its kin: what admission sees of a connection.
json::value Connector::options_of(const Call& call, const RequestInfo& info, const http::Request& request) {
  json::object out{{"kind", json::key(call.resource->info->kind)}, {"apiVersion", "v1"}};
  for (const auto& [name, value] : request.query.items()) {
    if (name == "command") json::ensure_array(out, "command").emplace_back(value);
    else if (name == "ports") json::ensure_array(out, "ports").emplace_back(parse_int<int64_t>(value).value_or(0));
    else if (value == "true" || value == "false" || value == "1" || value == "0") out[name] = value == "true" || value == "1";
    else out[name] = value;
  }
  if (call.resource->subresource() == "proxy") out["path"] = info.rest.empty() ? "/" : info.rest;
  return out;
}

Result<Connector::Target> Connector::locate(const Call& call, const RequestInfo& info, const http::Request& request) const {
  std::string_view sub = call.resource->subresource(), resource = call.resource->resource();
  if (sub == "log") return pod_log(call, request);
  if (sub != "proxy") return pod_stream(call, request);
  if (resource == "pods") return pod_proxy(call, info, request);
  if (resource == "services") return service_proxy(call, info, request);
  ProxyName name = parse_proxy_name(call.name);
  auto base = kubelet_url(name.name);
  if (!base) return fail(base.error());
  return Target{with_query(*base + (info.rest.empty() ? "/" : info.rest), request), true};
}

void Connector::serve(Call& call, const RequestInfo& info, http::Request& request, std::unique_ptr<http::Responder> responder) {
  if (call.resource->subresource() != "log") {
    json::value options = options_of(call, info, request);
    if (auto done = admit_request(core_, call, Operation::connect, options); !done) return respond_status(*responder, done.error(), call.warnings);
  }
  auto target = locate(call, info, request);
  if (!target) return respond_status(*responder, target.error());
  if (target->url.empty()) return respond_text(*responder, 200, "");
  if (http::wants_upgrade(request)) return tunnel(*target, request, std::move(responder));
  // Relative links of a page only work below a path that ends with '/'.
  if (call.resource->subresource() == "proxy" && info.rest.empty() && (request.method == "GET" || request.method == "HEAD")) {
    http::Headers headers;
    headers.set("Location", with_query(request.path + "/", request));
    return responder->respond(301, std::move(headers), "");
  }
  std::string_view sub = call.resource->subresource();
  if (sub == "exec" || sub == "attach" || sub == "portforward") return respond_status(*responder, Status::bad_request("Upgrade request required"));
  pass(*target, request, std::move(responder));
}

void Connector::tunnel(const Target& target, http::Request& request, std::unique_ptr<http::Responder> responder) {
  http::ClientRequest out;
  out.method = request.method;
  out.url = target.url;
  for (const auto& [name, value] : request.headers.items()) {
    std::string lower = to_lower(name);
    if (is_forwarded(name) || lower == "connection" || lower == "upgrade") out.headers.add(name, value);
  }
  http::ClientResponse refused;
  auto upgraded = http::dial_upgrade(out, target.kubelet ? kubelet_tls_ : http::ClientTls{.verify = false}, &refused);
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

void Connector::pass(const Target& target, const http::Request& request, std::unique_ptr<http::Responder> responder) {
  http::ClientRequest out;
  out.method = request.method;
  out.url = target.url;
  out.body = request.body;
  out.timeout = std::chrono::milliseconds(0);
  for (const auto& [name, value] : request.headers.items())
    if (is_forwarded(name)) out.headers.add(name, value);
  // The three callbacks and the client's going away share what they need.
  struct Passing {
    std::mutex mutex;
    std::unique_ptr<http::Responder> responder;
    std::unique_ptr<http::Stream> stream;
    std::unique_ptr<http::ClientStream> source;
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
  auto on_head = [passing, finish, log](int status, const http::Headers& head) {
    if (log && status >= 400) {
      passing->refused = status;
      return;
    }
    http::Headers headers;
    for (const auto& [name, value] : head.items())
      if (is_forwarded(name)) headers.add(name, value);
    std::unique_ptr<http::Stream> stream = passing->responder->stream(status, std::move(headers));
    stream->on_close(finish);
    std::lock_guard lock(passing->mutex);
    passing->stream = std::move(stream);
  };
  auto on_data = [passing](std::string_view piece) {
    std::lock_guard lock(passing->mutex);
    if (passing->refused != 0 && passing->words.size() < kMaxWords) passing->words += piece.substr(0, kMaxWords - passing->words.size());
    if (passing->stream) passing->stream->write(std::make_shared<const std::string>(piece));
  };
  auto on_end = [passing, finish](Result<void> result) {
    if (!result && !passing->stream) {
      respond_status(*passing->responder, Status::unavailable("error trying to reach service: " + result.error().message()));
      passing->responder.reset();
    } else if (passing->refused != 0) {
      respond_status(*passing->responder, refusal(passing->refused, passing->words));
      passing->responder.reset();
    }
    finish();
  };
  auto source = (target.kubelet ? *kubelets_ : *plain_).open(out, on_head, on_data, on_end);
  if (!source) return respond_status(*passing->responder, Status::unavailable("error trying to reach service: " + source.error().message()));
  std::unique_ptr<http::ClientStream> done;
  std::lock_guard lock(passing->mutex);
  if (passing->finished) done = std::move(*source);
  else passing->source = std::move(*source);
}

}  // namespace kcube::apiserver
