// JSON Web Tokens of others (RFC 7515, 7518): taken apart, and checked against public keys. Thread-safe; no I/O.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/status.h"

namespace kcube::auth {

// A token in parts. Nothing in it is to be believed before its signature was checked.
struct Jwt {
  std::string algorithm, key_id;     // of its header
  std::string claims_json;
  std::string signed_part, signature;
};
// 401 when malformed: three parts of base64url, a flat JSON header that names an algorithm and no critical extensions.
Result<Jwt> parse_jwt(const std::string& token);

class PublicKey {
 public:
  // Every key of a PEM file: public keys, private keys (their public half) and certificates. 400 when there is none.
  static Result<std::vector<std::shared_ptr<const PublicKey>>> from_pem(const std::string& pem);
  // From a JWK's numbers, big-endian. Fails on points that are not on the curve ("P-256", "P-384", "P-521").
  static Result<std::shared_ptr<const PublicKey>> from_rsa(const std::string& modulus, const std::string& exponent);
  static Result<std::shared_ptr<const PublicKey>> from_ec(const std::string& curve, const std::string& x, const std::string& y);
  virtual ~PublicKey() = default;
  // Of a JWT: RS*, PS* on RSA keys, ES* on the curve that belongs to it; never "none" or HMAC.
  virtual bool verify(const Jwt& token) const = 0;
  // base64url SHA-256 of the key's DER, as kube-apiserver names its own keys.
  virtual const std::string& key_id() const = 0;
  // One JWK (JSON).
  virtual std::string jwk_json() const = 0;
  virtual const char* algorithm() const = 0;      // with which such a key signs by default
};

// True when the certificate (DER) was signed, perhaps over intermediates in `ca_pem`, by one of its certificates and may
// be a client's.
bool is_signed_by(const std::string& certificate_der, const std::string& ca_pem);

}  // namespace kcube::auth
