// The flags of identity and the files behind them. Source: kube-apiserver's flags and its configuration file formats
// (AuthenticationConfiguration, AuthorizationConfiguration).
#include <algorithm>

#include "pkg/api/yaml.h"
#include "pkg/apiserver/authentication/claim_expressions.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/auth/jwt.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr ApiFlagInfo kFlags[] = {
    {"token-auth-file", "CSV file of bearer tokens: token,user,uid,\"group1,group2\""},
    {"anonymous-auth", "false: requests without credentials are refused"},
    {"authentication-config", "AuthenticationConfiguration file: JWT issuers, anonymous paths"},
    {"oidc-issuer-url", "issuer of OpenID Connect tokens (https)"},
    {"oidc-client-id", "client id that its tokens must be for"},
    {"oidc-ca-file", "certificate authority of the issuer"},
    {"oidc-username-claim", "claim that is the user's name (sub)"},
    {"oidc-username-prefix", "before user names; - for none"},
    {"oidc-groups-claim", "claim with the user's groups"},
    {"oidc-groups-prefix", "before group names"},
    {"oidc-required-claim", "KEY=VALUE that tokens must have; may repeat", true},
    {"oidc-signing-algs", "algorithms that are accepted (RS256)", true},
    {"authentication-token-webhook-config-file", "kubeconfig of a webhook that knows tokens"},
    {"authentication-token-webhook-version", "of TokenReview: v1 or v1beta1"},
    {"authentication-token-webhook-cache-ttl", "how long its answers hold (2m0s)"},
    {"requestheader-client-ca-file", "authority of aggregators in front that say who asks"},
    {"requestheader-allowed-names", "common names of such aggregators; any when empty", true},
    {"requestheader-username-headers", "headers with the user's name", true},
    {"requestheader-uid-headers", "headers with the user's uid", true},
    {"requestheader-group-headers", "headers with groups", true},
    {"requestheader-extra-headers-prefix", "prefixes of headers with more about the user", true},
    {"proxy-client-cert-file", "certificate towards extension API servers"},
    {"proxy-client-key-file", "its key"},
    {"client-ca-file", "another authority of client certificates"},
    {"service-account-key-file", "more keys (PEM) that service account tokens may be signed with; may repeat", true},
    {"service-account-signing-key-file", "private key that signs service account tokens"},
    {"service-account-issuer", "issuer of service account tokens; more are accepted", true},
    {"service-account-jwks-uri", "where the issuer's keys are, for the discovery document"},
    {"api-audiences", "audiences that tokens for the API have (the issuers)", true},
    {"authorization-mode", "chain of Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny", true},
    {"authorization-config", "AuthorizationConfiguration file"},
    {"authorization-policy-file", "ABAC policy, a JSON object a line"},
    {"authorization-webhook-config-file", "kubeconfig of a webhook that decides"},
    {"authorization-webhook-version", "of SubjectAccessReview: v1 or v1beta1"},
    {"authorization-webhook-cache-authorized-ttl", "how long its yes holds (5m0s)"},
    {"authorization-webhook-cache-unauthorized-ttl", "how long its no holds (30s)"},
    {"audit-policy-file", "what is recorded, at which level"},
    {"audit-log-path", "file of audit events, a JSON object a line; - is standard output"},
    {"audit-log-maxage", "days that old audit files are kept"},
    {"audit-log-maxbackup", "old audit files that are kept"},
    {"audit-log-maxsize", "megabytes after which a new audit file is begun"},
    {"audit-webhook-config-file", "kubeconfig of a webhook that gets audit events"},
    {"audit-webhook-mode", "batch: send events later, many at once; blocking, blocking-strict: before the answer"},
    {"audit-webhook-batch-buffer-size", "audit events that may wait for the webhook, 10000"},
    {"audit-webhook-batch-max-size", "audit events in one request to the webhook, 400"},
    {"audit-webhook-batch-max-wait", "how long a request to the webhook waits to be full, 30s"},
    {"enable-priority-and-fairness", "false: requests at a time have one limit instead of queues by priority"},
    {"max-requests-inflight", "reading requests at a time (400); with priority and fairness the sum of both is shared out"},
    {"max-mutating-requests-inflight", "writing requests at a time (200)"},
    {"enable-logs-handler", "true: /logs shows the files of /var/log"},
    {"profiling", "true: /debug/pprof shows threads and memory of the process"},
    {"feature-gates", "NAME=true|false; CBORServingAndStorage is known", true},
    {"encryption-provider-config", "EncryptionConfiguration file: what is encrypted in the database"},
    {"encryption-provider-config-automatic-reload", "true: the file is read again when it changes"},
};

// Values of one flag file, with what was wrong.
class Reader {
 public:
  explicit Reader(const ApiFlags& flags) : flags_(flags) {}

  bool has(const char* name) const { return flags_.contains(name); }
  std::string text(const char* name, std::string fallback = "") const {
    auto it = flags_.find(name);
    return it == flags_.end() || it->second.empty() ? fallback : it->second.back();
  }
  std::vector<std::string> list(const char* name) const {
    std::vector<std::string> out;
    auto it = flags_.find(name);
    if (it == flags_.end()) return out;
    for (const std::string& value : it->second)
      for (std::string_view part : split(value, ','))
        if (!trim(part).empty()) out.emplace_back(trim(part));
    return out;
  }
  bool boolean(const char* name, bool fallback) {
    std::string value = text(name, fallback ? "true" : "false");
    if (value != "true" && value != "false") refuse(name, "invalid argument \"" + value + "\": expected true or false");
    return value == "true";
  }
  int number(const char* name, int fallback = 0) {
    std::string value = text(name, std::to_string(fallback));
    auto parsed = parse_int<int>(value);
    if (!parsed || *parsed < 0) refuse(name, "invalid argument \"" + value + "\": expected a number");
    return parsed.value_or(0);
  }
  std::chrono::seconds duration(const char* name, std::chrono::seconds fallback) {
    if (!has(name)) return fallback;
    auto parsed = parse_duration(text(name));
    if (!parsed) refuse(name, "invalid duration \"" + text(name) + "\"");
    return parsed.value_or(fallback);
  }
  // The file that the flag names.
  std::string file(const char* name) {
    if (!has(name)) return "";
    auto content = file::read(text(name));
    if (content) return std::move(*content);
    refuse(name, content.error().message());
    return "";
  }
  void refuse(const char* name, const std::string& why) {
    if (problem_.empty()) problem_ = "--" + std::string(name) + ": " + why;
  }
  template <typename T>
  T take(const char* name, Result<T> result) {
    if (result) return std::move(*result);
    refuse(name, result.error().message());
    return T();
  }
  const std::string& problem() const { return problem_; }

  // Go's: "1h30m", "10s", "500ms" (rounded up to a second).
  static std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
    double total = 0;
    if (text == "0") return std::chrono::seconds(0);
    while (!text.empty()) {
      size_t digits = text.find_first_not_of("0123456789.");
      if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
      double value = std::strtod(std::string(text.substr(0, digits)).c_str(), nullptr);
      text.remove_prefix(digits);
      size_t unit_end = std::min(text.find_first_of("0123456789."), text.size());
      std::string_view unit = text.substr(0, unit_end);
      double scale = unit == "h" ? 3600 : unit == "m" ? 60 : unit == "s" ? 1 : unit == "ms" ? 1e-3 : 0;
      if (scale == 0) return std::nullopt;
      total += value * scale;
      text.remove_prefix(unit_end);
    }
    return std::chrono::seconds(static_cast<int64_t>(total + 0.999));
  }

 private:
  const ApiFlags& flags_;
  std::string problem_;
};

// One record of RFC 4180 from `text`, which moves on; with quotes and line breaks inside them.
std::vector<std::string> csv_record(std::string_view& text) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  while (!text.empty()) {
    char c = text[0];
    text.remove_prefix(1);
    if (quoted && c == '"' && text.starts_with('"')) {
      fields.back() += '"';
      text.remove_prefix(1);
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else if (c == '\n' && !quoted) {
      break;
    } else if (c != '\r' || quoted) {
      fields.back() += c;
    }
  }
  return fields;
}

Result<std::vector<StaticToken>> read_token_file(std::string_view text) {
  std::vector<StaticToken> tokens;
  for (int number = 1; !text.empty(); ++number) {
    auto fields = csv_record(text);
    if (fields.size() == 1 && trim(fields[0]).empty()) continue;
    if (fields[0].starts_with('#')) continue;
    if (fields.size() < 3) return fail(Status::bad_request("record " + std::to_string(number) + ": token file must have at least 3 columns (token, user name, user uid), found " + std::to_string(fields.size())));
    StaticToken one{std::string(trim(fields[0])), {std::string(trim(fields[1])), std::string(trim(fields[2])), {}, {}}};
    if (one.token.empty()) return fail(Status::bad_request("record " + std::to_string(number) + ": empty token"));
    if (fields.size() > 3)
      for (std::string_view group : split(fields[3], ','))
        if (!trim(group).empty()) one.user.groups.emplace_back(trim(group));
    one.user.groups.push_back("system:authenticated");
    tokens.push_back(std::move(one));
  }
  return tokens;
}

std::vector<std::string> strings(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(list)) out.emplace_back(json::get_string(&v));
  return out;
}

Result<JwtIssuer> read_jwt(const json::value& jwt) {
  JwtIssuer issuer;
  issuer.url = json::get_string(jwt, {"issuer", "url"});
  issuer.discovery_url = json::get_string(jwt, {"issuer", "discoveryURL"});
  issuer.ca_pem = json::get_string(jwt, {"issuer", "certificateAuthority"});
  issuer.audiences = strings(json::at(&jwt, {"issuer", "audiences"}));
  issuer.algorithms = {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"};
  auto invalid = [](const std::string& why) { return fail(Status::bad_request(why)); };
  if (!issuer.url.starts_with("https://")) return invalid("jwt[].issuer.url: Invalid value: \"" + issuer.url + "\": URL scheme must be https");
  if (issuer.audiences.empty()) return invalid("jwt[].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required");
  const json::value* mappings = json::find(&jwt, "claimMappings");
  auto expressions = read_claim_expressions(jwt);
  if (!expressions) return fail(expressions.error());
  issuer.expressions = std::move(*expressions);
  const bool computed = issuer.expressions && issuer.expressions->username;
  issuer.username_claim = json::get_string(json::at(mappings, {"username", "claim"}));
  issuer.username_prefix = json::get_string(json::at(mappings, {"username", "prefix"}));
  if (issuer.username_claim.empty() && !computed) return invalid("jwt[].claimMappings.username: Required value: claim or expression is required");
  if (!computed && json::at(mappings, {"username", "prefix"}) == nullptr) return invalid("jwt[].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing");
  issuer.groups_claim = json::get_string(json::at(mappings, {"groups", "claim"}));
  issuer.groups_prefix = json::get_string(json::at(mappings, {"groups", "prefix"}));
  issuer.uid_claim = json::get_string(json::at(mappings, {"uid", "claim"}));
  for (const json::value& rule : json::get_array(json::find(&jwt, "claimValidationRules"))) {
    if (!json::get_string(rule, {"expression"}).empty()) continue;
    issuer.required_claims.emplace_back(json::get_string(rule, {"claim"}), json::get_string(rule, {"requiredValue"}));
  }
  return issuer;
}

bool is_config(const json::value& document, std::string_view kind, std::string_view group) {
  return json::get_string(document, {"kind"}) == kind && json::get_string(document, {"apiVersion"}).starts_with(std::string(group) + "/v1");
}

constexpr const char* kConfigGroup = "apiserver.config.k8s.io";

Result<void> read_authentication_config(std::string_view text, SecurityOptions& o) {
  auto config = api::parse_yaml(text);
  if (!config) return fail(config.error());
  if (!is_config(*config, "AuthenticationConfiguration", kConfigGroup)) return fail(Status::bad_request("expected an AuthenticationConfiguration of apiserver.config.k8s.io/v1"));
  for (const json::value& jwt : json::get_array(json::find(&*config, "jwt"))) {
    auto issuer = read_jwt(jwt);
    if (!issuer) return fail(issuer.error());
    o.jwt_issuers.push_back(std::move(*issuer));
  }
  if (const json::value* anonymous = json::find(&*config, "anonymous")) {
    o.anonymous = json::get_bool(json::find(anonymous, "enabled"));
    for (const json::value& c : json::get_array(json::find(anonymous, "conditions"))) o.anonymous_paths.emplace_back(json::get_string(c, {"path"}));
  }
  return {};
}

// Over "request", the spec of a SubjectAccessReview.
Result<std::vector<std::shared_ptr<const cel::Program>>> read_authorizer_conditions(const json::value* conditions) {
  constexpr size_t kMost = 64;
  std::vector<std::shared_ptr<const cel::Program>> out;
  cel::Environment environment;
  environment.declare("request", cel::Type::dyn());
  if (json::get_array(conditions).size() > kMost)
    return fail(Status::bad_request("authorizers[].webhook.matchConditions: Too many: " + std::to_string(json::get_array(conditions).size()) + ": must have at most 64 items"));
  for (const json::value& c : json::get_array(conditions)) {
    std::string text(json::get_string(c, {"expression"})), at = "authorizers[].webhook.matchConditions[" + std::to_string(out.size()) + "].expression: ";
    if (trim(text).empty()) return fail(Status::bad_request(at + "Required value"));
    auto program = cel::compile(text, environment);
    std::string shown = "Invalid value: " + json::serialize(json::value(text)) + ": ";
    if (!program) return fail(Status::bad_request(at + shown + "compilation failed: " + program.error().message()));
    if (!cel::returns(**program, *cel::Type::boolean())) return fail(Status::bad_request(at + shown + "must evaluate to bool"));
    out.push_back(std::move(*program));
  }
  return out;
}

Result<void> read_authorization_config(std::string_view text, SecurityOptions& o) {
  auto config = api::parse_yaml(text);
  if (!config) return fail(config.error());
  if (!is_config(*config, "AuthorizationConfiguration", kConfigGroup)) return fail(Status::bad_request("expected an AuthorizationConfiguration of apiserver.config.k8s.io/v1"));
  for (const json::value& one : json::get_array(json::find(&*config, "authorizers"))) {
    AuthorizerConfig a;
    a.type = json::get_string(one, {"type"});
    a.name = json::get_string(one, {"name"});
    if (a.type != "Node" && a.type != "RBAC" && a.type != "Webhook") return fail(Status::bad_request("authorizers[].type: Unsupported value: \"" + a.type + "\": supported values: \"Node\", \"RBAC\", \"Webhook\""));
    if (a.type == "Webhook") {
      const json::value* w = json::find(&one, "webhook");
      auto seconds = [&](const char* name, std::chrono::seconds fallback) { return Reader::parse_duration(json::get_string(json::find(w, name))).value_or(fallback); };
      auto conditions = read_authorizer_conditions(json::find(w, "matchConditions"));
      if (!conditions) return fail(conditions.error());
      a.conditions = std::move(*conditions);
      std::string policy(json::get_string(json::find(w, "failurePolicy")));
      if (policy != "NoOpinion" && policy != "Deny") return fail(Status::bad_request("authorizers[].webhook.failurePolicy: Unsupported value: \"" + policy + "\": supported values: \"Deny\", \"NoOpinion\""));
      a.deny_on_failure = policy == "Deny";
      a.timeout = seconds("timeout", std::chrono::seconds(30));
      a.authorized_ttl = seconds("authorizedTTL", a.authorized_ttl);
      a.unauthorized_ttl = seconds("unauthorizedTTL", a.unauthorized_ttl);
      a.version = json::get_string(json::find(w, "subjectAccessReviewVersion"));
      auto target = read_webhook_kubeconfig(std::string(json::get_string(json::at(w, {"connectionInfo", "kubeConfigFile"}))));
      if (!target) return fail(target.error().with_context("authorizers[].webhook.connectionInfo"));
      a.webhook = std::move(*target);
    }
    o.authorizers.push_back(std::move(a));
  }
  if (o.authorizers.empty()) return fail(Status::bad_request("authorizers: Required value: at least one authorization mode must be defined"));
  return {};
}

void read_oidc(Reader& r, SecurityOptions& o) {
  if (!r.has("oidc-issuer-url")) {
    if (r.has("oidc-client-id")) r.refuse("oidc-client-id", "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
    return;
  }
  JwtIssuer issuer;
  issuer.url = r.text("oidc-issuer-url");
  if (!issuer.url.starts_with("https://")) r.refuse("oidc-issuer-url", "URL scheme must be https");
  if (!r.has("oidc-client-id")) r.refuse("oidc-issuer-url", "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
  issuer.audiences = {r.text("oidc-client-id")};
  issuer.ca_pem = r.file("oidc-ca-file");
  issuer.username_claim = r.text("oidc-username-claim", "sub");
  std::string prefix = r.text("oidc-username-prefix");
  // Names other than addresses are told apart from those of the cluster's own users.
  if (prefix.empty() && issuer.username_claim != "email") prefix = issuer.url + "#";
  issuer.username_prefix = prefix == "-" ? "" : prefix;
  issuer.groups_claim = r.text("oidc-groups-claim");
  issuer.groups_prefix = r.text("oidc-groups-prefix");
  for (const std::string& pair : r.list("oidc-required-claim")) {
    size_t equal = pair.find('=');
    if (equal == std::string::npos) r.refuse("oidc-required-claim", pair + " must be formatted as key=value");
    else issuer.required_claims.emplace_back(pair.substr(0, equal), pair.substr(equal + 1));
  }
  if (auto algorithms = r.list("oidc-signing-algs"); !algorithms.empty()) issuer.algorithms = std::move(algorithms);
  for (const std::string& a : issuer.algorithms)
    if (a.size() != 5 || (a.substr(0, 2) != "RS" && a.substr(0, 2) != "ES" && a.substr(0, 2) != "PS")) r.refuse("oidc-signing-algs", "unsupported signing alg \"" + a + "\"");
  o.jwt_issuers.push_back(std::move(issuer));
}

void read_authentication(Reader& r, SecurityOptions& o) {
  if (r.has("token-auth-file")) o.tokens = r.take("token-auth-file", read_token_file(r.file("token-auth-file")));
  if (r.has("authentication-config")) {
    if (r.has("oidc-issuer-url")) r.refuse("authentication-config", "authentication-config file and oidc-* flags are mutually exclusive");
    if (r.has("anonymous-auth")) r.refuse("authentication-config", "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file");
    if (auto read = read_authentication_config(r.file("authentication-config"), o); !read) r.refuse("authentication-config", read.error().message());
  } else {
    o.anonymous = r.boolean("anonymous-auth", true);
  }
  read_oidc(r, o);
  if (r.has("authentication-token-webhook-config-file"))
    o.token_webhook = TokenWebhook{r.take("authentication-token-webhook-config-file", read_webhook_kubeconfig(r.text("authentication-token-webhook-config-file"))), r.text("authentication-token-webhook-version", "v1beta1"),
                                   r.duration("authentication-token-webhook-cache-ttl", std::chrono::seconds(120))};
  RequestHeaderOptions& h = o.request_header;
  h.ca_pem = r.file("requestheader-client-ca-file");
  h.allowed_names = r.list("requestheader-allowed-names");
  h.username_headers = r.list("requestheader-username-headers");
  h.uid_headers = r.list("requestheader-uid-headers");
  h.group_headers = r.list("requestheader-group-headers");
  h.extra_prefixes = r.list("requestheader-extra-headers-prefix");
  if (!h.ca_pem.empty() && h.username_headers.empty()) r.refuse("requestheader-client-ca-file", "--requestheader-username-headers is needed with it");
  o.client_ca_pem = r.file("client-ca-file");
  if (r.has("proxy-client-cert-file") || r.has("proxy-client-key-file")) o.proxy_client = auth::KeyPair{r.file("proxy-client-cert-file"), r.file("proxy-client-key-file")};
  o.service_account_issuers = r.list("service-account-issuer");
  o.api_audiences = r.list("api-audiences");
  o.jwks_uri = r.text("service-account-jwks-uri");
  o.service_account_signing_key_pem = r.file("service-account-signing-key-file");
}

void read_authorization(Reader& r, SecurityOptions& o) {
  if (r.has("authorization-config")) {
    for (const char* other : {"authorization-mode", "authorization-policy-file", "authorization-webhook-config-file"})
      if (r.has(other)) r.refuse("authorization-config", "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined");
    if (auto read = read_authorization_config(r.file("authorization-config"), o); !read) r.refuse("authorization-config", read.error().message());
    return;
  }
  auto modes = r.list("authorization-mode");
  auto uses = [&](std::string_view mode) { return std::ranges::find(modes, mode) != modes.end(); };
  if (r.has("authorization-policy-file") && !uses("ABAC")) r.refuse("authorization-policy-file", "cannot be used without mode ABAC");
  if (r.has("authorization-webhook-config-file") && !uses("Webhook")) r.refuse("authorization-webhook-config-file", "cannot be used without mode Webhook");
  for (const std::string& mode : modes) {
    AuthorizerConfig a;
    a.type = a.name = mode;
    constexpr std::string_view kModes[] = {"Node", "RBAC", "ABAC", "Webhook", "AlwaysAllow", "AlwaysDeny"};
    if (std::ranges::find(kModes, mode) == std::end(kModes)) r.refuse("authorization-mode", "\"" + mode + "\" is not a valid mode");
    if (std::ranges::count(modes, mode) > 1) r.refuse("authorization-mode", "[" + join(modes, " ") + "] has mode specified more than once");
    if (mode == "ABAC") {
      if (!r.has("authorization-policy-file")) r.refuse("authorization-mode", "mode ABAC's authorization policy file not passed");
      a.abac = std::make_shared<const AbacPolicy>(r.take("authorization-policy-file", AbacPolicy::parse(r.file("authorization-policy-file"))));
    }
    if (mode == "Webhook") {
      if (!r.has("authorization-webhook-config-file")) r.refuse("authorization-mode", "mode Webhook's authorization config file not passed");
      a.webhook = r.take("authorization-webhook-config-file", read_webhook_kubeconfig(r.text("authorization-webhook-config-file")));
      a.version = r.text("authorization-webhook-version", "v1beta1");
      a.authorized_ttl = r.duration("authorization-webhook-cache-authorized-ttl", a.authorized_ttl);
      a.unauthorized_ttl = r.duration("authorization-webhook-cache-unauthorized-ttl", a.unauthorized_ttl);
    }
    o.authorizers.push_back(std::move(a));
  }
}

void read_audit(Reader& r, SecurityOptions& o) {
  if (r.has("audit-policy-file")) o.audit_policy = r.take("audit-policy-file", audit::Policy::parse(r.file("audit-policy-file")));
  if (r.has("audit-log-path")) o.audit_log = AuditLogOptions{r.text("audit-log-path"), r.number("audit-log-maxage"), r.number("audit-log-maxbackup"), r.number("audit-log-maxsize")};
  if (!r.has("audit-webhook-config-file")) return;
  AuditWebhookOptions webhook{r.take("audit-webhook-config-file", read_webhook_kubeconfig(r.text("audit-webhook-config-file")))};
  std::string mode = r.text("audit-webhook-mode", "batch");
  if (mode != "batch" && mode != "blocking" && mode != "blocking-strict") r.refuse("audit-webhook-mode", "invalid audit webhook mode " + mode + ", allowed modes are \"batch,blocking,blocking-strict\"");
  webhook.blocking = mode != "batch";
  int buffer = r.number("audit-webhook-batch-buffer-size", 10000), batch = r.number("audit-webhook-batch-max-size", 400);
  if (buffer == 0) r.refuse("audit-webhook-batch-buffer-size", "invalid audit batch webhook buffer size 0, must be a positive number");
  if (batch == 0) r.refuse("audit-webhook-batch-max-size", "invalid audit batch webhook max batch size 0, must be a positive number");
  webhook.most_waiting = static_cast<size_t>(buffer);
  webhook.most_in_batch = static_cast<size_t>(batch);
  webhook.longest_wait = r.duration("audit-webhook-batch-max-wait", webhook.longest_wait);
  o.audit_webhook = std::move(webhook);
}

void read_gateway(Reader& r, const ApiFlags& flags, GatewayOptions& o) {
  o.priority_and_fairness = r.boolean("enable-priority-and-fairness", true);
  auto limit = [&](const char* name, int fallback) {
    if (r.text(name).starts_with('-')) r.refuse(name, "can not be negative value");
    return r.number(name, fallback);
  };
  o.max_requests = limit("max-requests-inflight", o.max_requests);
  o.max_mutating_requests = limit("max-mutating-requests-inflight", o.max_mutating_requests);
  if (o.priority_and_fairness && o.max_requests + o.max_mutating_requests <= 0)
    r.refuse("max-requests-inflight", "invalid configuration: MaxRequestsInFlight=" + std::to_string(o.max_requests) + " and MaxMutatingRequestsInFlight=" + std::to_string(o.max_mutating_requests) + "; they must add up to something positive");
  o.logs = r.boolean("enable-logs-handler", false);
  o.profiling = r.boolean("profiling", false);
  for (const ApiFlagInfo& flag : kFlags) {
    auto it = flags.find(flag.name);
    o.flags.emplace_back(flag.name, it == flags.end() ? "" : join(it->second, ","));
  }
}

}  // namespace

std::span<const ApiFlagInfo> api_flags() { return kFlags; }

namespace {

// Source: the reference of feature gates in the Kubernetes docs. AllAlpha turns on what is not said otherwise.
void read_feature_gates(Reader& r, FeatureGates& gates) {
  std::optional<bool> cbor, alpha;
  for (const std::string& pair : r.list("feature-gates")) {
    size_t equals = pair.find('=');
    std::string name(trim(std::string_view(pair).substr(0, equals))), value(equals == std::string::npos ? "" : trim(std::string_view(pair).substr(equals + 1)));
    if (equals == std::string::npos) return r.refuse("feature-gates", "missing bool value for " + name);
    if (value != "true" && value != "false") return r.refuse("feature-gates", "invalid value of " + name + ": " + value + ", err: strconv.ParseBool: parsing \"" + value + "\": invalid syntax");
    if (name == "CBORServingAndStorage") cbor = value == "true";
    else if (name == "AllAlpha") alpha = value == "true";
    else if (name != "AllBeta") return r.refuse("feature-gates", "unrecognized feature gate: " + name);
  }
  gates.cbor = cbor.value_or(alpha.value_or(false));
}

}  // namespace

Result<SecurityOptions> read_security_flags(const ApiFlags& flags) {
  for (const auto& [name, values] : flags) {
    auto known = std::ranges::find_if(kFlags, [&](const ApiFlagInfo& f) { return name == f.name; });
    if (known == std::end(kFlags)) return fail(Status::bad_request("unknown flag of the API server: --" + name));
    if (values.size() > 1 && !known->repeats) return fail(Status::bad_request("--" + name + " is given more than once"));
  }
  Reader r(flags);
  SecurityOptions o;
  read_authentication(r, o);
  auto keys = flags.find("service-account-key-file");
  if (keys != flags.end()) {
    for (const std::string& path : keys->second) {
      auto pem = file::read(path);
      if (pem && auth::PublicKey::from_pem(*pem)) o.service_account_keys_pem.push_back(std::move(*pem));
      else r.refuse("service-account-key-file", pem ? path + ": data does not contain any valid RSA or ECDSA public keys" : pem.error().message());
    }
  }
  read_authorization(r, o);
  read_audit(r, o);
  read_gateway(r, flags, o.gateway);
  read_feature_gates(r, o.gates);
  if (!r.problem().empty()) return fail(Status::bad_request(r.problem()));
  return o;
}

}  // namespace kcube::apiserver
