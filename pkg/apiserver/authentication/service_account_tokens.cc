// Service account tokens: our own, made for a while and bound to objects that must still be there, and the old ones that are
// kept in Secrets.
#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/authenticator.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kPrivate = "kubernetes.io";
constexpr std::string_view kServiceAccountPrefix = "system:serviceaccount:";

int64_t seconds(SystemTime t) { return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count(); }

// Those of `wanted` that the token is for.
std::vector<std::string> intersection(const json::value* aud, const std::vector<std::string>& wanted) {
  std::vector<std::string> both;
  for (const std::string& w : wanted) {
    bool listed = std::ranges::any_of(json::get_array(aud), [&](const json::value& a) { return json::get_string(&a) == w; });
    if (listed || (aud != nullptr && aud->is_string() && json::get_string(aud) == w)) both.push_back(w);
  }
  return both;
}

auth::User account_user(const std::string& ns, std::string_view name, std::string_view uid) {
  return {std::string(kServiceAccountPrefix) + ns + ":" + std::string(name), std::string(uid), {"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}, {}};
}

}  // namespace

bool Authenticator::verify_own(const auth::Jwt& token) const {
  return std::ranges::any_of(keys_, [&](const auto& key) { return (token.key_id.empty() || token.key_id == key->key_id()) && key->verify(token); });
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

Result<Authenticated> Authenticator::service_account(const auth::Jwt& token, const json::value& claims, const std::vector<std::string>& audiences) const {
  if (!verify_own(token)) return fail(api::unauthorized());
  int64_t now = seconds(clock_.now());
  if (json::get_int(claims, {"exp"}) <= now || json::get_int(claims, {"nbf"}) > now + 10) return fail(api::unauthorized());
  auto meant = intersection(json::find(&claims, "aud"), audiences.empty() ? options_.api_audiences : audiences);
  if (meant.empty() || !still_bound(claims)) return fail(api::unauthorized());
  const json::value* k = json::find(&claims, kPrivate);
  auto at = [&](std::string_view a, std::string_view b) { return std::string(json::get_string(json::at(k, {a, b}))); };
  auth::User user = account_user(std::string(json::get_string(json::find(k, "namespace"))), at("serviceaccount", "name"), at("serviceaccount", "uid"));
  if (json::get_string(claims, {"sub"}) != user.name) return fail(api::unauthorized());
  user.extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + std::string(json::get_string(claims, {"jti"}))};
  for (const char* kind : {"pod", "node"}) {
    if (json::find(k, kind) == nullptr) continue;
    user.extra["authentication.kubernetes.io/" + std::string(kind) + "-name"] = {at(kind, "name")};
    user.extra["authentication.kubernetes.io/" + std::string(kind) + "-uid"] = {at(kind, "uid")};
  }
  return Authenticated{std::move(user), std::move(meant)};
}

// It is good as long as the Secret holds it.
Result<Authenticated> Authenticator::legacy_service_account(const std::string& token, const json::value& claims, const std::vector<std::string>& audiences) const {
  auto parsed = auth::parse_jwt(token);
  if (!parsed || !verify_own(*parsed)) return fail(api::unauthorized());
  auto claim = [&](std::string_view name) { return std::string(json::get_string(json::find(&claims, "kubernetes.io/serviceaccount/" + std::string(name)))); };
  std::string ns = claim("namespace"), name = claim("service-account.name"), uid = claim("service-account.uid");
  ObjectPtr secret = cache_.find("", "secrets")->get(ns, claim("secret.name"));
  ObjectPtr account = cache_.find("", "serviceaccounts")->get(ns, name);
  if (!secret || secret->deleting() || !account || account->uid() != uid) return fail(api::unauthorized());
  auto held = base64_decode(json::get_string(secret->value(), {"data", "token"}));
  if (!held || !auth::constant_time_equal(*held, token)) return fail(api::unauthorized());
  auto meant = audiences;
  if (!audiences.empty()) std::erase_if(meant, [&](const std::string& a) { return std::ranges::find(options_.api_audiences, a) == options_.api_audiences.end(); });
  else meant = options_.api_audiences;
  if (meant.empty()) return fail(api::unauthorized());
  return Authenticated{account_user(ns, name, uid), std::move(meant)};
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
  if (audiences.empty())
    for (const std::string& a : options_.api_audiences) audiences.push_back(json::value(a));
  json::object claims{{"aud", std::move(audiences)}, {"exp", seconds(end)}, {"iat", seconds(now)}, {"iss", issuer()}, {"jti", new_uuid()}};
  claims[json::key(kPrivate)] = std::move(own);
  claims["nbf"] = seconds(now);
  claims["sub"] = std::string(kServiceAccountPrefix) + r.ns + ":" + r.service_account;
  auto token = signer_.sign(json::serialize(json::value(std::move(claims))));
  if (!token) return fail(token.error());
  return std::pair{std::move(*token), end};
}

std::string Authenticator::jwks() const {
  std::string text;
  for (const auto& key : keys_) text += (text.empty() ? "" : ",") + key->jwk_json();
  return "{\"keys\":[" + text + "]}";
}

std::vector<std::string> Authenticator::algorithms() const {
  std::vector<std::string> names;
  for (const auto& key : keys_)
    if (std::ranges::find(names, key->algorithm()) == names.end()) names.emplace_back(key->algorithm());
  return names;
}

}  // namespace kcube::apiserver
