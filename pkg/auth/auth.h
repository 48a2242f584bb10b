// Certificates, tokens and who may do what: the pure parts of identity, without the API server around them.
// Thread-safe; no I/O but where a path is named. Sources: RFC 5280, 7519, the Kubernetes authentication and RBAC docs.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/clock.h"
#include "pkg/base/status.h"

namespace kcube::auth {

struct User {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
  bool in_group(std::string_view group) const;
};

// --- Certificates (PEM in and out; keys are ECDSA P-256) ---
struct KeyPair {
  std::string certificate_pem, key_pem;
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names, ip_addresses;
  bool server = false, client = false;           // extended key usages
  std::chrono::seconds lifetime = std::chrono::hours(24 * 365);
};

Result<KeyPair> make_ca(const std::string& common_name, std::chrono::seconds lifetime);
Result<KeyPair> issue(const KeyPair& ca, const CertificateRequest& request);
Result<std::string> make_key();                                       // PEM, PKCS#8
// PKCS#10, PEM, with subject and SANs of `request`.
Result<std::string> make_csr(const std::string& key_pem, const CertificateRequest& request);

struct ParsedCsr {
  std::string common_name;
  std::vector<std::string> organizations, dns_names, ip_addresses, emails, uris;
};
// Checks the signature too. 400 when malformed.
Result<ParsedCsr> parse_csr(const std::string& csr_pem);
// Signs what the CSR asks for with the usages given ("client auth", "server auth", "digital signature", …).
Result<std::string> sign_csr(const KeyPair& ca, const std::string& csr_pem, const std::vector<std::string>& usages,
                             std::chrono::seconds lifetime);

struct ParsedCertificate {
  std::string common_name;
  std::vector<std::string> organizations, dns_names, ip_addresses;
  SystemTime not_before, not_after;
};
Result<ParsedCertificate> parse_certificate(const std::string& pem);
// SHA-256 over the DER of the first certificate, lower-case hex: what a join token pins.
Result<std::string> certificate_hash(const std::string& pem);
std::string sha256_hex(std::string_view bytes);
std::string sha256(std::string_view bytes);                            // raw 32 bytes
std::string hmac_sha256(std::string_view key, std::string_view bytes);
bool constant_time_equal(std::string_view a, std::string_view b);

// --- Tokens ---
// Service account tokens: RS256 or ES256 JWTs. Claims are JSON text, so that this room needs no JSON type.
class TokenSigner {
 public:
  // `key_pem` private key; its key id is the base64url SHA-256 of the public key's DER, as kube-apiserver has it.
  static Result<std::unique_ptr<TokenSigner>> create(const std::string& key_pem);
  virtual ~TokenSigner() = default;
  virtual Result<std::string> sign(const std::string& claims_json) const = 0;
  // The claims' JSON when the signature is by this key; 401 otherwise. Times and audiences are the caller's.
  virtual Result<std::string> verify(const std::string& token) const = 0;
  // The public key as one JWK (JSON), for /openid/v1/jwks.
  virtual std::string jwk_json() const = 0;
};

// "K10<ca hash>::<id>:<secret>"; the short form "<id>.<secret>" (a kubeadm token) has an empty hash.
struct JoinToken {
  std::string ca_hash, id, secret;
  static Result<JoinToken> parse(const std::string& text);
  // A new one: a random id of 6 and secret of 16 letters and digits, as bootstrap tokens have them.
  static JoinToken make(std::string ca_hash);
  std::string to_string() const;
};

// --- RBAC ---
struct PolicyRule {
  std::vector<std::string> verbs, api_groups, resources, resource_names, non_resource_urls;
};

// What a request wants, in the words of authorization.k8s.io.
struct Attributes {
  User user;
  std::string verb;
  bool resource_request = true;
  std::string namespace_, api_group, api_version, resource, subresource, name;
  std::string path;                    // of a non-resource request
  std::string field_selector, label_selector;   // of a list, watch or deletecollection, as sent
};

// True when one rule covers all of `attributes`: "*" wildcards, "resource/subresource", "*/subresource", URL prefixes.
bool rule_allows(const PolicyRule& rule, const Attributes& attributes);
// True when `owner` covers everything in `wanted` (privilege escalation check); `missing` gets what is not covered.
bool rules_cover(const std::vector<PolicyRule>& owner, const std::vector<PolicyRule>& wanted, std::vector<PolicyRule>* missing);

}  // namespace kcube::auth
