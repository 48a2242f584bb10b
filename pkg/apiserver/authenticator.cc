#include "pkg/apiserver/authenticator.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr const char* kCredentialId = "authentication.kubernetes.io/credential-id";
constexpr std::string_view kLegacyIssuer = "kubernetes/serviceaccount";
constexpr size_t kMaxCertificates = 4096;

std::string unbase64(const json::value* v) { return base64_decode(json::get_string(v)).value_or(""); }

// "abcdef.0123456789abcdef".
bool looks_like_bootstrap(std::string_view token) {
  auto plain = [](std::string_view s) { return std::ranges::all_of(s, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }); };
  return token.size() == 23 && token[6] == '.' && plain(token.substr(0, 6)) && plain(token.substr(7));
}

bool contains(const std::vector<std::string>& list, std::string_view wanted) { return std::ranges::find(list, wanted) != list.end(); }

}  // namespace

Result<std::unique_ptr<Authenticator>> Authenticator::create(const Cache& cache, Clock& clock, const auth::TokenSigner& signer, const SecurityOptions& options) {
  std::unique_ptr<Authenticator> a(new Authenticator(cache, clock, signer, options));
  for (const std::string& pem : options.service_account_keys_pem) {
    auto keys = auth::PublicKey::from_pem(pem);
    if (!keys) return fail(keys.error().with_context("service account keys"));
    for (auto& key : *keys)
      if (std::ranges::none_of(a->keys_, [&](const auto& known) { return known->key_id() == key->key_id(); })) a->keys_.push_back(std::move(key));
  }
  for (const StaticToken& one : options.tokens) a->static_tokens_[one.token] = &one.user;
  for (const JwtIssuer& issuer : options.jwt_issuers) a->issuers_.push_back(std::make_unique<JwtAuthenticator>(issuer, clock));
  if (options.token_webhook) a->webhook_ = std::make_unique<TokenWebhookAuthenticator>(*options.token_webhook, clock);
  return a;
}

Authenticator::CertificateFacts Authenticator::facts_of(const http::Request& request) const {
  {
    std::lock_guard lock(certificates_mutex_);
    auto it = certificates_.find(request.peer_certificate_der);
    if (it != certificates_.end()) return it->second;
  }
  const std::string& ca = options_.request_header.ca_pem;
  CertificateFacts facts{!ca.empty() && auth::is_signed_by(request.peer_certificate_der, ca), "X509SHA256=" + auth::sha256_hex(request.peer_certificate_der)};
  std::lock_guard lock(certificates_mutex_);
  if (certificates_.size() >= kMaxCertificates) certificates_.clear();
  return certificates_[request.peer_certificate_der] = std::move(facts);
}

// What an aggregator says that has asked its own client already. Its certificate is checked by the caller.
std::optional<auth::User> Authenticator::by_request_header(const http::Request& request) const {
  const RequestHeaderOptions& o = options_.request_header;
  if (!o.allowed_names.empty() && !contains(o.allowed_names, request.peer_common_name)) return std::nullopt;
  auto first = [&](const std::vector<std::string>& names) -> std::string {
    for (const std::string& name : names)
      if (std::string_view value = request.headers.get(name); !value.empty()) return std::string(value);
    return {};
  };
  auth::User user{first(o.username_headers), first(o.uid_headers), {}, {}};
  if (user.name.empty()) return std::nullopt;
  for (const std::string& name : o.group_headers)
    for (std::string_view group : request.headers.all(name)) user.groups.emplace_back(group);
  for (const std::string& prefix : o.extra_prefixes) {
    for (const auto& [name, value] : request.headers.items()) {
      std::string lower = to_lower(name);
      if (lower.starts_with(to_lower(prefix))) user.extra[percent_decode(std::string_view(lower).substr(prefix.size()), false)].push_back(value);
    }
  }
  if (!user.in_group("system:authenticated") && user.name != "system:anonymous") user.groups.push_back("system:authenticated");
  return user;
}

Result<auth::User> Authenticator::anonymous(const http::Request& request) const {
  // Who joins by a token knows the authority by its hash, and nobody else yet.
  bool allowed = request.path == "/cacerts" || (options_.anonymous && (options_.anonymous_paths.empty() || contains(options_.anonymous_paths, request.path)));
  if (!allowed) return fail(api::unauthorized());
  return auth::User{"system:anonymous", "", {"system:unauthenticated"}, {}};
}

Result<auth::User> Authenticator::authenticate(const http::Request& request) const {
  if (request.peer_certificate_invalid) return fail(api::unauthorized());
  if (!request.peer_certificate_der.empty()) {
    CertificateFacts facts = facts_of(request);
    if (facts.aggregator) {
      if (auto user = by_request_header(request)) return std::move(*user);
      return fail(api::unauthorized());
    }
    auth::User user{request.peer_common_name, "", request.peer_organizations, {}};
    user.groups.push_back("system:authenticated");
    user.extra[kCredentialId] = {std::move(facts.credential_id)};
    return user;
  }
  auto by_token = [&](const std::string& token) -> Result<auth::User> {
    auto known = authenticate_token(token, {});
    if (!known) return fail(known.error());
    return std::move(known->user);
  };
  std::string_view header = request.headers.get("Authorization");
  if (!header.empty()) {
    size_t space = header.find(' ');
    if (space != std::string_view::npos && to_lower(header.substr(0, space)) == "bearer") return by_token(std::string(trim(header.substr(space + 1))));
    // No one here understands other schemes: as if there was none.
  }
  // Browsers cannot set headers on a WebSocket: the token comes as a subprotocol.
  for (std::string_view offered : request.headers.all("Sec-WebSocket-Protocol")) {
    for (std::string_view one : split(offered, ',')) {
      one = trim(one);
      constexpr std::string_view kToken = "base64url.bearer.authorization.k8s.io.";
      if (!one.starts_with(kToken)) continue;
      auto token = base64url_decode(one.substr(kToken.size()));
      if (!token) return fail(api::unauthorized());
      return by_token(*token);
    }
  }
  return anonymous(request);
}

Result<Authenticated> Authenticator::authenticate_token(const std::string& token, const std::vector<std::string>& audiences) const {
  // Of those that know nothing of audiences, a token is for the API server.
  auto meant = audiences.empty() ? options_.api_audiences : audiences;
  std::erase_if(meant, [&](const std::string& a) { return !contains(options_.api_audiences, a); });
  if (auto it = static_tokens_.find(token); it != static_tokens_.end() && !meant.empty()) return Authenticated{*it->second, meant};
  if (looks_like_bootstrap(token) && !meant.empty())
    if (auto user = bootstrap_token(token)) return Authenticated{std::move(*user), meant};
  Status refusal = api::unauthorized();
  if (auto jwt = auth::parse_jwt(token)) {
    auto claims = json::parse(jwt->claims_json);
    std::string issuer(claims ? json::get_string(*claims, {"iss"}) : std::string_view());
    if (contains(options_.service_account_issuers, issuer)) {
      auto known = service_account(*jwt, *claims, audiences);
      if (known || !webhook_) return known;
    } else if (issuer == kLegacyIssuer) {
      auto known = legacy_service_account(token, *claims, audiences);
      if (known || !webhook_) return known;
    }
    for (const auto& one : issuers_) {
      if (one->url() != issuer || meant.empty()) continue;
      auto user = one->authenticate(*jwt, *claims);
      if (user) return Authenticated{std::move(*user), meant};
      log::info("apiserver", "a token was refused", {{"reason", user.error()}});
    }
  }
  if (!webhook_) return fail(refusal);
  auto answer = webhook_->authenticate(token, audiences.empty() ? options_.api_audiences : audiences);
  if (!answer) {
    log::warn("apiserver", "the token webhook cannot be asked", {{"error", answer.error()}});
    return fail(refusal);
  }
  if (!*answer) return fail(refusal);
  auto [user, said] = std::move(**answer);
  if (!said.empty()) {
    meant = audiences.empty() ? options_.api_audiences : audiences;
    std::erase_if(meant, [&](const std::string& a) { return !contains(said, a); });
  }
  if (meant.empty()) return fail(refusal);
  if (!user.in_group("system:authenticated")) user.groups.push_back("system:authenticated");
  return Authenticated{std::move(user), std::move(meant)};
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

}  // namespace kcube::apiserver
