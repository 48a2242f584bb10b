#include "pkg/apiserver/authenticator.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kPrivate = "kubernetes.io";
constexpr std::string_view kServiceAccountPrefix = "system:serviceaccount:";

std::string unbase64(const json::value* v) { return base64_decode(json::get_string(v)).value_or(""); }

int64_t seconds(SystemTime t) { return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count(); }

bool intersects(const json::value* aud, const std::vector<std::string>& wanted) {
  auto has = [&](std::string_view a) { return std::ranges::find(wanted, a) != wanted.end(); };
  if (aud != nullptr && aud->is_string()) return has(json::get_string(aud));
  return std::ranges::any_of(json::get_array(aud), [&](const json::value& a) { return has(json::get_string(&a)); });
}

// "abcdef.0123456789abcdef".
bool looks_like_bootstrap(std::string_view token) {
  auto plain = [](std::string_view s) { return std::ranges::all_of(s, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }); };
  return token.size() == 23 && token[6] == '.' && plain(token.substr(0, 6)) && plain(token.substr(7));
}

}  // namespace

Result<auth::User> Authenticator::authenticate(const http::Request& request) const {
  if (request.peer_certificate_invalid) return fail(api::unauthorized());
  auth::User user;
  if (!request.peer_certificate_der.empty()) {
    user.name = request.peer_common_name;
    user.groups = request.peer_organizations;
    user.groups.push_back("system:authenticated");
    user.extra["authentication.kubernetes.io/credential-id"] = {"X509SHA256=" + auth::sha256_hex(request.peer_certificate_der)};
    return user;
  }
  std::string_view header = request.headers.get("Authorization");
  if (!header.empty()) {
    size_t space = header.find(' ');
    if (space != std::string_view::npos && to_lower(header.substr(0, space)) == "bearer") return authenticate_token(std::string(trim(header.substr(space + 1))), {});
    return fail(api::unauthorized());
  }
  // Browsers cannot set headers on a WebSocket: the token comes as a subprotocol.
  for (std::string_view offered : request.headers.all("Sec-WebSocket-Protocol")) {
    for (std::string_view one : split(offered, ',')) {
      one = trim(one);
      constexpr std::string_view kToken = "base64url.bearer.authorization.k8s.io.";
      if (!one.starts_with(kToken)) continue;
      auto token = base64url_decode(one.substr(kToken.size()));
      if (!token) return fail(api::unauthorized());
      return authenticate_token(*token, {});
    }
  }
  user.name = "system:anonymous";
  user.groups = {"system:unauthenticated"};
  return user;
}

Result<auth::User> Authenticator::authenticate_token(const std::string& token, const std::vector<std::string>& audiences) const {
  if (looks_like_bootstrap(token)) return bootstrap_token(token);
  return service_account(token, audiences);
}

Result<auth::User> Authenticator::bootstrap_token(const std::string& token) const {
  std::string id = token.substr(0, 6);
  const ResourceCache* secrets = cache_.find("", "secrets");
  ObjectPtr secret = secrets->get("kube-system", "bootstrap-token-" + id);
  if (!secret || secret->deleting()) return fail(api::unauthorized());
  const json::value& s = secret->value();
  auto data = [&](std::string_view key) { return unbase64(json::at(&s, {"data", key})); };
  if (json::get_string(s, {"type"}) != "bootstrap.kubernetes.io/token" || data("token-id") != id) return fail(api::unauthorized());
  if (!auth::constant_time_equal(data("token-secret"), token.substr(7))) return fail(api::unauthorized());
  SystemTime expiration;
  if (std::string text = data("expiration"); !text.empty() && (!parse_time(text, expiration) || expiration < clock_.now())) return fail(api::unauthorized());
  if (data("usage-bootstrap-authentication") != "true") return fail(api::unauthorized());
  auth::User user{"system:bootstrap:" + id, "", {}, {}};
  std::string extra = data("auth-extra-groups");
  for (std::string_view group : split(extra, ','))
    if (group.starts_with("system:bootstrappers:")) user.groups.emplace_back(group);
  user.groups.push_back("system:bootstrappers");
  user.groups.push_back("system:authenticated");
  return user;
}

bool Authenticator::still_bound(const json::value& claims) const {
  const json::value* k = json::find(&claims, kPrivate);
  std::string_view ns = json::get_string(json::find(k, "namespace"));
  auto lives = [&](std::string_view resource, std::string_view where, const json::value* ref) {
    if (ref == nullptr) return true;
    ObjectPtr object = cache_.find("", resource)->get(where, json::get_string(json::find(ref, "name")));
    return object && object->uid() == json::get_string(json::find(ref, "uid"));
  };
  if (!lives("serviceaccounts", ns, json::find(k, "serviceaccount"))) return false;
  if (!lives("pods", ns, json::find(k, "pod")) || !lives("secrets", ns, json::find(k, "secret"))) return false;
  // A pod's token names its node for information only; a node's token is bound to it.
  return json::find(k, "pod") != nullptr || lives("nodes", "", json::find(k, "node"));
}

Result<auth::User> Authenticator::service_account(const std::string& token, const std::vector<std::string>& audiences) const {
  auto text = signer_.verify(token);
  if (!text) return fail(api::unauthorized());
  auto claims = json::parse(*text);
  if (!claims || json::get_string(*claims, {"iss"}) != issuer_) return fail(api::unauthorized());
  int64_t now = seconds(clock_.now());
  if (json::get_int(*claims, {"exp"}) <= now || json::get_int(*claims, {"nbf"}) > now + 10) return fail(api::unauthorized());
  if (!intersects(json::find(&*claims, "aud"), audiences.empty() ? std::vector{issuer_} : audiences)) return fail(api::unauthorized());
  if (!still_bound(*claims)) return fail(api::unauthorized());
  const json::value* k = json::find(&*claims, kPrivate);
  auto at = [&](std::string_view a, std::string_view b) { return std::string(json::get_string(json::at(k, {a, b}))); };
  std::string ns(json::get_string(json::find(k, "namespace")));
  auth::User user{std::string(kServiceAccountPrefix) + ns + ":" + at("serviceaccount", "name"), at("serviceaccount", "uid"), {}, {}};
  user.groups = {"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"};
  user.extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + std::string(json::get_string(*claims, {"jti"}))};
  for (const char* kind : {"pod", "node"}) {
    if (json::find(k, kind) == nullptr) continue;
    user.extra["authentication.kubernetes.io/" + std::string(kind) + "-name"] = {at(kind, "name")};
    user.extra["authentication.kubernetes.io/" + std::string(kind) + "-uid"] = {at(kind, "uid")};
  }
  return user;
}

Result<std::pair<std::string, SystemTime>> Authenticator::issue(const TokenRequest& r) const {
  auto now = clock_.now();
  SystemTime end = now + r.lifetime;
  auto reference = [](std::string_view name, std::string_view uid) { return json::object{{"name", json::key(name)}, {"uid", json::key(uid)}}; };
  json::object own{{"namespace", r.ns}, {"serviceaccount", reference(r.service_account, r.service_account_uid)}};
  if (r.bound_kind == "Pod") own["pod"] = reference(r.bound_name, r.bound_uid);
  if (r.bound_kind == "Secret") own["secret"] = reference(r.bound_name, r.bound_uid);
  if (r.bound_kind == "Node") own["node"] = reference(r.bound_name, r.bound_uid);
  if (!r.node_name.empty()) own["node"] = reference(r.node_name, r.node_uid);
  json::array audiences;
  for (const std::string& a : r.audiences) audiences.push_back(json::value(a));
  if (audiences.empty()) audiences.push_back(json::value(issuer_));
  json::object claims{{"aud", std::move(audiences)}, {"exp", seconds(end)}, {"iat", seconds(now)}, {"iss", issuer_}, {"jti", new_uuid()}};
  claims[json::key(kPrivate)] = std::move(own);
  claims["nbf"] = seconds(now);
  claims["sub"] = std::string(kServiceAccountPrefix) + r.ns + ":" + r.service_account;
  auto token = signer_.sign(json::serialize(json::value(std::move(claims))));
  if (!token) return fail(token.error());
  return std::pair{std::move(*token), end};
}

std::string Authenticator::jwks() const { return "{\"keys\":[" + signer_.jwk_json() + "]}"; }

}  // namespace kcube::apiserver
