#include "pkg/apiserver/connect.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/output.h"
#include "pkg/apiserver/service_endpoints.h"
#include "pkg/base/strings.h"
#include "pkg/http/streams.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kSubresources[] = {"log", "exec", "attach", "portforward", "proxy"};

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

// What PodPortForwardOptions calls "ports" the kubelet calls "port".
std::string forwarded_ports(const http::Query& query) {
  std::string out;
  for (const char* name : {"ports", "port"})
    for (std::string_view value : query.all(name)) out += (out.empty() ? "?port=" : "&port=") + percent_encode(value);
  return out;
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

}  // namespace

Connector::Connector(Core& core, http::ClientTls kubelet)
    : core_(core), kubelets_(std::make_shared<Peer>(std::move(kubelet))), plain_(std::make_shared<Peer>(http::ClientTls{.verify = false})) {}

Connector::~Connector() { stop(); }
void Connector::stop() { forwarder_.stop(); }

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

Result<Target> Connector::pod_log(const Call& call, const http::Request& request) const {
  ObjectPtr pod = core_.get("", "pods", call.ns, call.name);
  if (!pod) return fail(api::not_found("", "pods", call.name));
  auto container = choose_container(*pod, request.query.get("container"), "log");
  if (!container) return fail(container.error());
  std::string_view node = json::get_string(pod->value(), {"spec", "nodeName"});
  // Nothing has run yet: an empty log, as the real server answers.
  if (node.empty()) return Target{};
  auto base = kubelet_url(node);
  if (!base) return fail(base.error());
  return Target{with_query(*base + "/containerLogs/" + call.ns + "/" + call.name + "/" + *container, request), kubelets_, {}, true};
}

Result<Target> Connector::pod_stream(const Call& call, const http::Request& request) const {
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
  if (sub == "portforward") return Target{*base + "/portForward/" + where + forwarded_ports(request.query), kubelets_};
  auto container = choose_container(*pod, request.query.get("container"), sub);
  if (!container) return fail(container.error());
  return Target{with_query(*base + "/" + std::string(sub) + "/" + where + "/" + *container, request), kubelets_};
}

Result<Target> Connector::pod_proxy(const Call& call, const RequestInfo& info, const http::Request& request) const {
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
  return Target{with_query(url + (info.rest.empty() ? "/" : info.rest), request), plain_};
}

Result<Target> Connector::service_proxy(const Call& call, const RequestInfo& info, const http::Request& request) const {
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
  auto targets = service_endpoints(core_, call.ns, name.name, port_name).targets;
  if (targets.empty()) return fail(Status::unavailable("no endpoints available for service \"" + call.name + "\""));
  std::string url = name.scheme + "://" + targets[random_u64() % targets.size()];
  return Target{with_query(url + (info.rest.empty() ? "/" : info.rest), request), plain_};
}

constexpr std::string_view kSwitches[] = {"stdin", "stdout", "stderr", "tty", "follow", "previous", "timestamps", "insecureSkipTLSVerifyBackend"};

// PodExecOptions and its kin: what admission sees of a connection.
json::value Connector::options_of(const Call& call, const RequestInfo& info, const http::Request& request) {
  json::object out{{"kind", json::key(call.resource->info->kind)}, {"apiVersion", "v1"}};
  for (const auto& [name, value] : request.query.items()) {
    if (name == "command") json::ensure_array(out, "command").emplace_back(value);
    else if (name == "ports") json::ensure_array(out, "ports").emplace_back(parse_int<int64_t>(value).value_or(0));
    else if (std::ranges::find(kSwitches, name) != std::end(kSwitches)) out[name] = request.query.flag(name);
    else out[name] = value;
  }
  if (call.resource->subresource() == "proxy") out["path"] = info.rest.empty() ? "/" : info.rest;
  return out;
}

Result<Target> Connector::locate(const Call& call, const RequestInfo& info, const http::Request& request) const {
  std::string_view sub = call.resource->subresource(), resource = call.resource->resource();
  if (sub == "log") return pod_log(call, request);
  if (sub != "proxy") return pod_stream(call, request);
  if (resource == "pods") return pod_proxy(call, info, request);
  if (resource == "services") return service_proxy(call, info, request);
  ProxyName name = parse_proxy_name(call.name);
  auto base = kubelet_url(name.name);
  if (!base) return fail(base.error());
  return Target{with_query(*base + (info.rest.empty() ? "/" : info.rest), request), kubelets_};
}

void Connector::serve(Call& call, const RequestInfo& info, http::Request& request, std::unique_ptr<http::Responder> responder) {
  if (call.resource->subresource() != "log") {
    json::value options = options_of(call, info, request);
    if (auto done = admit_request(core_, call, Operation::connect, options); !done) return respond_status(*responder, done.error(), call.warnings);
  }
  auto target = locate(call, info, request);
  if (!target) return respond_status(*responder, target.error());
  if (target->url.empty()) return respond_text(*responder, 200, "");
  if (http::wants_upgrade(request)) return forwarder_.tunnel(*target, request, std::move(responder));
  // Relative links of a page only work below a path that ends with '/'.
  if (call.resource->subresource() == "proxy" && info.rest.empty() && (request.method == "GET" || request.method == "HEAD")) {
    http::Headers headers;
    headers.set("Location", with_query(request.path + "/", request));
    return responder->respond(301, std::move(headers), "");
  }
  std::string_view sub = call.resource->subresource();
  if (sub == "proxy") target->links_to = request.path.substr(0, request.path.size() - info.rest.size());
  if (sub == "exec" || sub == "attach" || sub == "portforward") return respond_status(*responder, Status::bad_request("Upgrade request required"));
  forwarder_.pass(*target, request, std::move(responder));
}

}  // namespace kcube::apiserver
