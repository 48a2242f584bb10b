// What the flags of the API server say about identity: who is believed, who decides, what is recorded, how much at a time. Read once at the
// start from flags and the files they name; every mistake there is a one-line error.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pkg/apiserver/audit/policy.h"
#include "pkg/apiserver/authorization/abac.h"
#include "pkg/apiserver/configured_webhook.h"
#include "pkg/auth/auth.h"

namespace kcube::cel {
class Program;
}

namespace kcube::apiserver {

struct ClaimExpressions;

struct StaticToken {
  std::string token;
  auth::User user;
};

// An issuer of JWTs that are not ours (OpenID Connect).
struct JwtIssuer {
  std::string url, discovery_url, ca_pem;
  std::vector<std::string> audiences;
  std::string username_claim = "sub", username_prefix, groups_claim, groups_prefix, uid_claim;
  std::vector<std::pair<std::string, std::string>> required_claims;
  std::vector<std::string> algorithms{"RS256"};
  std::shared_ptr<const ClaimExpressions> expressions;   // in place of names of claims; null when there are none
};

struct TokenWebhook {
  WebhookTarget target;
  std::string version = "v1beta1";
  std::chrono::seconds cache_ttl{120};
};

// How an aggregator in front of us says who asks. Not in use without `ca_pem`.
struct RequestHeaderOptions {
  std::string ca_pem;
  std::vector<std::string> allowed_names;           // common names; empty: any that the CA signed
  std::vector<std::string> username_headers, uid_headers, group_headers, extra_prefixes;
};

struct AuthorizerConfig {
  std::string type, name;                           // Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny
  std::optional<WebhookTarget> webhook;
  std::string version = "v1beta1";
  std::chrono::seconds authorized_ttl{300}, unauthorized_ttl{30};
  std::chrono::milliseconds timeout{30000};
  bool deny_on_failure = false;
  std::vector<std::shared_ptr<const cel::Program>> conditions;   // over "request"; only when all hold is the webhook asked
  std::shared_ptr<const AbacPolicy> abac;
};

struct AuditLogOptions {
  std::string path;                                 // "-": standard output
  int max_age_days = 0, max_backups = 0, max_size_mb = 0;
};

struct AuditWebhookOptions {
  WebhookTarget target;
  bool blocking = false;                            // else in batches, behind the request's back
  size_t most_waiting = 10000, most_in_batch = 400;
  std::chrono::seconds longest_wait{30};            // of a batch that is not full
};

// What the flags say about the door itself rather than about who comes through it.
struct GatewayOptions {
  bool priority_and_fairness = true;
  int max_requests = 400, max_mutating_requests = 200;   // at a time; 0 of one: no limit for those
  bool logs = false, profiling = false;             // whether /logs and /debug/pprof are there
  std::vector<std::pair<std::string, std::string>> flags;   // all there are, as they are set, for /flagz
};

// What --feature-gates turns on. Gates that Kubernetes 1.36 has on by default are not gates here.
struct FeatureGates {
  bool cbor = false;                                // CBORServingAndStorage: application/cbor beside JSON and protobuf
};

struct SecurityOptions {
  FeatureGates gates;
  std::vector<StaticToken> tokens;
  std::vector<JwtIssuer> jwt_issuers;
  std::optional<TokenWebhook> token_webhook;
  RequestHeaderOptions request_header;
  bool anonymous = true;
  std::vector<std::string> anonymous_paths;         // empty: all
  std::vector<std::string> service_account_issuers; // the first is that of new tokens
  std::vector<std::string> api_audiences;
  std::string jwks_uri;
  std::string service_account_signing_key_pem;      // empty: the cluster's own
  std::vector<std::string> service_account_keys_pem;
  std::string client_ca_pem;                        // believed beside the cluster's own
  std::optional<auth::KeyPair> proxy_client;
  std::vector<AuthorizerConfig> authorizers;        // empty: Node, RBAC
  std::shared_ptr<const audit::Policy> audit_policy;
  std::optional<AuditLogOptions> audit_log;
  std::optional<AuditWebhookOptions> audit_webhook;
  GatewayOptions gateway;
};

// --- Flags, with the names that kube-apiserver has for them ---
using ApiFlags = std::map<std::string, std::vector<std::string>>;   // name without dashes → values
struct ApiFlagInfo {
  const char *name, *help;
  bool repeats = false;               // or may be given as a list with commas
};
std::span<const ApiFlagInfo> api_flags();
// 400 for a flag that is unknown, a value that makes no sense, a file that cannot be used.
Result<SecurityOptions> read_security_flags(const ApiFlags& flags);

}  // namespace kcube::apiserver
