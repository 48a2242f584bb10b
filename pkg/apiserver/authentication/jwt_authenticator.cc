#include "pkg/apiserver/authentication/jwt_authenticator.h"

#include <algorithm>

#include "pkg/apiserver/authentication/claim_expressions.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr auto kBetween = std::chrono::seconds(10);
constexpr auto kTimeout = std::chrono::seconds(10);
constexpr uint64_t kMaxDocument = 1 << 20;

std::unexpected<Status> refused(const std::string& why) { return fail(Status(401, "Unauthorized", "oidc: " + why)); }

int64_t seconds(SystemTime t) { return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count(); }

// A string, or an array of them.
std::vector<std::string> texts(const json::value* v) {
  std::vector<std::string> out;
  if (v != nullptr && v->is_string()) out.emplace_back(json::get_string(v));
  for (const json::value& one : json::get_array(v))
    if (one.is_string()) out.emplace_back(json::get_string(&one));
  return out;
}

}  // namespace

JwtAuthenticator::JwtAuthenticator(JwtIssuer issuer, Clock& clock) : issuer_(std::move(issuer)), clock_(clock), client_(http::Client::create({.ca_pem = issuer_.ca_pem})) {}

Result<JwtAuthenticator::Keys> JwtAuthenticator::fetch_keys() const {
  auto get = [&](const std::string& url) -> Result<json::value> {
    auto response = client_->send({.url = url, .timeout = kTimeout, .max_body_bytes = kMaxDocument});
    if (!response) return fail(response.error());
    if (response->status != 200) return fail(Status::internal(url + " answered " + std::to_string(response->status)));
    return json::parse(response->body);
  };
  std::string base = issuer_.url;
  while (base.ends_with('/')) base.pop_back();
  auto document = get(issuer_.discovery_url.empty() ? base + "/.well-known/openid-configuration" : issuer_.discovery_url);
  if (!document) return fail(document.error());
  if (json::get_string(*document, {"issuer"}) != issuer_.url)
    return fail(Status::internal("oidc: issuer did not match the issuer returned by provider, expected \"" + issuer_.url + "\" got \"" + std::string(json::get_string(*document, {"issuer"})) + "\""));
  auto set = get(std::string(json::get_string(*document, {"jwks_uri"})));
  if (!set) return fail(set.error());
  Keys keys;
  for (const json::value& k : json::get_array(json::find(&*set, "keys"))) {
    auto bytes = [&](std::string_view name) { return base64url_decode(json::get_string(k, {name})).value_or(""); };
    std::string_view type = json::get_string(k, {"kty"}), use = json::get_string(k, {"use"});
    if (!use.empty() && use != "sig") continue;
    auto key = type == "RSA" ? auth::PublicKey::from_rsa(bytes("n"), bytes("e"))
               : type == "EC" ? auth::PublicKey::from_ec(std::string(json::get_string(k, {"crv"})), bytes("x"), bytes("y"))
                              : fail(Status::bad_request("unknown"));
    if (key) keys.emplace(json::get_string(k, {"kid"}), std::move(*key));
  }
  return keys;
}

std::shared_ptr<const JwtAuthenticator::Keys> JwtAuthenticator::keys(bool refresh) {
  auto current = [&] {
    std::lock_guard lock(mutex_);
    bool due = !asked_ || ((refresh || !keys_) && clock_.steady_now() >= fetched_ + kBetween);
    return std::pair(keys_, due);
  };
  auto [known, due] = current();
  if (!due) return known;
  std::lock_guard fetching(fetch_mutex_);
  // Another request may have asked meanwhile.
  std::tie(known, due) = current();
  if (!due) return known;
  auto fetched = fetch_keys();
  std::lock_guard lock(mutex_);
  asked_ = true;
  fetched_ = clock_.steady_now();
  if (fetched) keys_ = std::make_shared<const Keys>(std::move(*fetched));
  else log::warn("apiserver", "the keys of an OIDC issuer could not be read", {{"issuer", issuer_.url}, {"error", fetched.error()}});
  return keys_;
}

Result<void> JwtAuthenticator::verify(const auth::Jwt& token) {
  if (std::ranges::find(issuer_.algorithms, token.algorithm) == issuer_.algorithms.end())
    return refused("malformed jwt: unexpected signature algorithm \"" + token.algorithm + "\"");
  for (bool refresh : {false, true}) {
    auto known = keys(refresh);
    if (!known) return refused("authenticator for issuer \"" + issuer_.url + "\" is not initialized");
    for (const auto& [id, key] : *known)
      if ((token.key_id.empty() || id == token.key_id) && key->verify(token)) return {};
  }
  return refused("verify token: failed to verify signature: failed to verify id token signature");
}

Result<auth::User> JwtAuthenticator::user_of(const json::value& claims) const {
  auth::User user;
  const ClaimExpressions* expressions = issuer_.expressions.get();
  const bool computed = expressions != nullptr && expressions->username != nullptr;
  std::string_view name = json::get_string(json::find(&claims, issuer_.username_claim));
  if (!computed && name.empty()) return refused("parse username claims \"" + issuer_.username_claim + "\": claim not present");
  // An address that nobody has checked may be anybody's.
  if (const json::value* verified = json::find(&claims, "email_verified"); !computed && issuer_.username_claim == "email" && verified != nullptr && !json::get_bool(verified))
    return refused("email not verified");
  user.name = issuer_.username_prefix + std::string(name);
  if (!issuer_.uid_claim.empty()) user.uid = json::get_string(json::find(&claims, issuer_.uid_claim));
  if (!issuer_.groups_claim.empty())
    for (const std::string& group : texts(json::find(&claims, issuer_.groups_claim))) user.groups.push_back(issuer_.groups_prefix + group);
  if (expressions != nullptr)
    if (auto done = map_claims(*expressions, claims, user); !done) return refused(done.error().message());
  for (const auto& [claim, wanted] : issuer_.required_claims) {
    const json::value* value = json::find(&claims, claim);
    if (value == nullptr) return refused("required claim " + claim + " not present in ID token");
    if (json::get_string(value) != wanted) return refused("required claim " + claim + " value does not match. Got = " + std::string(json::get_string(value)) + ", want = " + wanted);
  }
  if (std::string_view id = json::get_string(claims, {"jti"}); !id.empty()) user.extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + std::string(id)};
  if (expressions != nullptr)
    if (auto done = check_user(*expressions, user); !done) return refused(done.error().message());
  user.groups.push_back("system:authenticated");
  return user;
}

Result<auth::User> JwtAuthenticator::authenticate(const auth::Jwt& token, const json::value& claims) {
  auto audiences = texts(json::find(&claims, "aud"));
  bool meant = std::ranges::any_of(audiences, [&](const std::string& a) { return std::ranges::find(issuer_.audiences, a) != issuer_.audiences.end(); });
  if (!meant) return refused("verify token: expected audience in [" + join(issuer_.audiences, " ") + "] got [" + join(audiences, " ") + "]");
  int64_t now = seconds(clock_.now());
  if (json::get_int(json::find(&claims, "exp")) <= now) return refused("verify token: token is expired");
  if (json::get_int(json::find(&claims, "nbf")) > now + 300) return refused("verify token: current time is before the nbf (not before) time");
  if (auto good = verify(token); !good) return fail(good.error());
  return user_of(claims);
}

}  // namespace kcube::apiserver
