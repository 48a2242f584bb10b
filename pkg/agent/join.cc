#include "pkg/agent/join.h"

#include <algorithm>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/client/wait.h"
#include "pkg/http/client.h"

namespace kcube::agent {
namespace {

constexpr std::string_view kRoom = "join";
constexpr auto kRetry = std::chrono::seconds(2);
constexpr auto kPatience = std::chrono::seconds(60);
const client::GroupVersionResource kRequests{"certificates.k8s.io", "v1", "certificatesigningrequests"};

// The server's CA, if it is the one that the token names.
Result<std::string> fetch_ca(const std::string& server, const std::string& hash) {
  auto http = http::Client::create({.verify = false});
  http::ClientRequest request;
  request.url = server + "/cacerts";
  auto response = http->send(request);
  if (!response) return fail(response.error());
  if (response->status != 200) return fail(Status::unavailable(server + "/cacerts answered " + std::to_string(response->status)));
  auto found = auth::certificate_hash(response->body);
  if (!found) return fail(Status(403, "Forbidden", server + " sent no certificate; is it a kcube server?"));
  if (!hash.empty() && *found != hash)
    return fail(Status(403, "Forbidden", "the CA of " + server + " is not the one in the token (" + hash.substr(0, 12) + "…): wrong server, or a token of another cluster"));
  if (hash.empty()) log::warn(kRoom, "the token does not name the server's CA: trusting what came first", {{"ca", *found}});
  return std::move(response->body);
}

struct CsrSpec {
  std::string name, signer;
  std::vector<std::string> usages;
  auth::CertificateRequest request;
};

// Creates the request and waits for the certificate.
Result<auth::KeyPair> request_certificate(client::Client& api, const CsrSpec& spec) {
  auto key = auth::make_key();
  if (!key) return fail(key.error());
  auto csr = auth::make_csr(*key, spec.request);
  if (!csr) return fail(csr.error());
  json::array usages;
  for (const std::string& u : spec.usages) usages.push_back(json::value(u));
  json::object object{{"apiVersion", "certificates.k8s.io/v1"}, {"kind", "CertificateSigningRequest"}, {"metadata", json::object{{"generateName", spec.name}}}};
  object["spec"] = json::object{{"request", base64_encode(*csr)}, {"signerName", spec.signer}, {"usages", std::move(usages)}};
  auto created = api.create(kRequests, "", json::value(std::move(object)));
  if (!created) return fail(created.error());
  std::string name((*created)->name());

  std::string certificate, denied;
  auto decided = [&](const json::value& o) {
    certificate = base64_decode(json::get_string(o, {"status", "certificate"})).value_or("");
    for (const json::value& c : json::get_array(json::at(&o, {"status", "conditions"})))
      if (json::get_string(c, {"type"}) == "Denied" || json::get_string(c, {"type"}) == "Failed") denied = "it was " + to_lower(json::get_string(c, {"type"})) + ": " + std::string(json::get_string(c, {"message"}));
    return !certificate.empty() || !denied.empty();
  };
  auto request = client::wait_for(api, kRequests, "", name, decided, kPatience, "the certificate request " + name + " to be signed");
  if (!request) return fail(request.error());
  if (!denied.empty()) return fail(Status(403, "Forbidden", "the certificate request " + name + " brought nothing: " + denied));
  return auth::KeyPair{std::move(certificate), std::move(*key)};
}

CsrSpec client_spec(const std::string& node) {
  CsrSpec s{"node-csr-", "kubernetes.io/kube-apiserver-client-kubelet", {"digital signature", "client auth"}, {}};
  s.request.common_name = "system:node:" + node;
  s.request.organizations = {"system:nodes"};
  return s;
}

CsrSpec serving_spec(const JoinOptions& o) {
  CsrSpec s{"csr-", "kubernetes.io/kubelet-serving", {"digital signature", "server auth"}, {}};
  s.request.common_name = "system:node:" + o.node_name;
  s.request.organizations = {"system:nodes"};
  s.request.dns_names = {o.node_name};
  s.request.ip_addresses = {o.node_ip};
  return s;
}

struct Paths {
  std::string ca, client, client_key, serving, serving_key;
  explicit Paths(const std::string& d)
      : ca(d + "/ca.crt"), client(d + "/client.crt"), client_key(d + "/client.key"), serving(d + "/serving.crt"), serving_key(d + "/serving.key") {}
};

bool still_good(const std::string& pem, Clock& clock) {
  auto parsed = auth::parse_certificate(pem);
  return parsed && parsed->not_after > clock.now() + std::chrono::minutes(5);
}

Result<Identity> load(const JoinOptions& o, Clock& clock) {
  Paths p(o.directory);
  Identity id;
  for (auto [path, slot] : {std::pair{&p.ca, &id.ca_pem}, {&p.client, &id.client.certificate_pem}, {&p.client_key, &id.client.key_pem},
                            {&p.serving, &id.serving.certificate_pem}, {&p.serving_key, &id.serving.key_pem}}) {
    auto text = file::read(*path);
    if (!text) return fail(text.error());
    *slot = std::move(*text);
  }
  auto serving = auth::parse_certificate(id.serving.certificate_pem);
  bool same_address = serving && std::ranges::find(serving->ip_addresses, o.node_ip) != serving->ip_addresses.end();
  auto client = auth::parse_certificate(id.client.certificate_pem);
  bool same_name = client && client->common_name == "system:node:" + o.node_name;
  if (!same_address || !same_name || !still_good(id.client.certificate_pem, clock) || !still_good(id.serving.certificate_pem, clock))
    return fail(Status::not_found("the kept identity is of another address or too old"));
  return id;
}

Result<void> keep(const JoinOptions& o, const Identity& id) {
  if (auto made = file::make_dirs(o.directory, 0700); !made) return made;
  Paths p(o.directory);
  for (auto [path, text] : {std::pair{&p.ca, &id.ca_pem}, {&p.client, &id.client.certificate_pem}, {&p.client_key, &id.client.key_pem},
                            {&p.serving, &id.serving.certificate_pem}, {&p.serving_key, &id.serving.key_pem}})
    if (auto written = file::write_atomic(*path, *text, 0600); !written) return written;
  return {};
}

Result<Identity> bootstrap(const JoinOptions& o, const auth::JoinToken& token) {
  Identity id;
  auto ca = fetch_ca(o.server, token.ca_hash);
  if (!ca) return fail(ca.error());
  id.ca_pem = std::move(*ca);
  auto stranger = client::remote_client({o.server, id.ca_pem, "", "", token.id + "." + token.secret});
  auto client = request_certificate(*stranger, client_spec(o.node_name));
  if (!client) return fail(client.error());
  id.client = std::move(*client);
  auto node = client::remote_client({o.server, id.ca_pem, id.client.certificate_pem, id.client.key_pem, ""});
  auto serving = request_certificate(*node, serving_spec(o));
  if (!serving) return fail(serving.error());
  id.serving = std::move(*serving);
  return id;
}

}  // namespace

Result<Identity> join(const JoinOptions& options, Clock& clock, const std::function<bool(std::chrono::milliseconds)>& pause) {
  if (auto kept = load(options, clock)) return kept;
  auto token = auth::JoinToken::parse(options.token);
  if (!token) return fail(token.error());
  for (;;) {
    auto identity = bootstrap(options, *token);
    if (identity) {
      if (auto kept = keep(options, *identity); !kept) return fail(kept.error());
      return identity;
    }
    int code = identity.error().code();
    if (code == 401) return fail(Status(401, "Unauthorized", "the server does not know this token, or it has expired: make one with `kcube token create`"));
    if (code == 403 || code == 400) return identity;
    log::warn(kRoom, "cannot join yet", {{"server", options.server}, {"error", identity.error()}});
    // Nothing tells when a server that cannot be reached comes back.
    if (!pause(kRetry)) return identity;
  }
}

Result<Identity> renew(const JoinOptions& options, const Identity& identity, Clock&) {
  auto node = client::remote_client({options.server, identity.ca_pem, identity.client.certificate_pem, identity.client.key_pem, ""});
  Identity fresh = identity;
  auto client = request_certificate(*node, client_spec(options.node_name));
  if (!client) return fail(client.error());
  fresh.client = std::move(*client);
  auto serving = request_certificate(*node, serving_spec(options));
  if (!serving) return fail(serving.error());
  fresh.serving = std::move(*serving);
  if (auto kept = keep(options, fresh); !kept) return fail(kept.error());
  return fresh;
}

SystemTime renewal_time(const Identity& identity) {
  SystemTime first = SystemTime::max();
  for (const std::string* pem : {&identity.client.certificate_pem, &identity.serving.certificate_pem}) {
    auto parsed = auth::parse_certificate(*pem);
    if (!parsed) return SystemTime{};
    first = std::min(first, parsed->not_before + (parsed->not_after - parsed->not_before) * 2 / 3);
  }
  return first;
}

}  // namespace kcube::agent
