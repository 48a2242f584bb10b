// JSON Web Tokens (RFC 7515, 7518, 7519) of one key. The algorithm follows from the key and never from the token.
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include <optional>

#include "pkg/auth/jws_header.h"
#include "pkg/auth/openssl.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

constexpr size_t kMaxToken = 64 << 10;
constexpr size_t kEcHalf = 32;  // bytes of r and of s on P-256

Status unauthorized() { return Status(401, "Unauthorized", "invalid bearer token"); }

class KeySigner final : public TokenSigner {
 public:
  KeySigner(KeyPtr key, bool rsa, std::string key_id)
      : key_(std::move(key)),
        rsa_(rsa),
        key_id_(std::move(key_id)),
        header_(base64url_encode("{\"alg\":\"" + algorithm() + "\",\"kid\":\"" + key_id_ + "\"}")) {}

  Result<std::string> sign(const std::string& claims_json) const override {
    std::string signed_part = header_ + "." + base64url_encode(claims_json);
    DigestContextPtr context(EVP_MD_CTX_new());
    size_t size = 0;
    bool ok = EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
              EVP_DigestSign(context.get(), nullptr, &size, bytes_of(signed_part), signed_part.size()) == 1;
    std::string signature(size, '\0');
    ok = ok && EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                              bytes_of(signed_part), signed_part.size()) == 1;
    if (!ok) return fail(openssl_failure("sign token"));
    signature.resize(size);
    if (!rsa_) {
      signature = ecdsa_to_plain(signature, kEcHalf);
      if (signature.empty()) return fail(openssl_failure("sign token"));
    }
    return signed_part + "." + base64url_encode(signature);
  }

  Result<std::string> verify(const std::string& token) const override {
    if (token.size() > kMaxToken) return fail(unauthorized());
    auto parts = split(token, '.');
    if (parts.size() != 3) return fail(unauthorized());
    auto header = base64url_decode(parts[0]), claims = base64url_decode(parts[1]),
         signature = base64url_decode(parts[2]);
    if (!header || !claims || !signature || !header_fits(*header)) return fail(unauthorized());
    if (!rsa_) signature = ecdsa_from_plain(*signature, kEcHalf);
    if (signature->empty()) return fail(unauthorized());
    DigestContextPtr context(EVP_MD_CTX_new());
    auto signed_part = std::string_view(token).substr(0, parts[0].size() + 1 + parts[1].size());
    bool ok = EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
              EVP_DigestVerify(context.get(), bytes_of(*signature), signature->size(), bytes_of(signed_part),
                               signed_part.size()) == 1;
    ERR_clear_error();
    if (!ok) return fail(unauthorized());
    return std::move(*claims);
  }

  std::string jwk_json() const override {
    std::string head =
        "{\"use\":\"sig\",\"kty\":\"" + std::string(rsa_ ? "RSA" : "EC") + "\",\"kid\":\"" + key_id_ + "\"";
    auto member = [](const char* name, const std::string& bytes) {
      return std::string(",\"") + name + "\":\"" + base64url_encode(bytes) + "\"";
    };
    if (rsa_)
      return head + ",\"alg\":\"RS256\"" + member("n", big_number(key_.get(), OSSL_PKEY_PARAM_RSA_N)) +
             member("e", big_number(key_.get(), OSSL_PKEY_PARAM_RSA_E)) + "}";
    return head + ",\"crv\":\"P-256\",\"alg\":\"ES256\"" +
           member("x", big_number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, kEcHalf)) +
           member("y", big_number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, kEcHalf)) + "}";
  }

 private:
  std::string algorithm() const { return rsa_ ? "RS256" : "ES256"; }
  bool header_fits(const std::string& header) const {
    std::map<std::string, std::string> members;
    if (!read_jws_header(header, members) || members.contains("crit")) return false;
    auto kid = members.find("kid");
    return members["alg"] == algorithm() && (kid == members.end() || kid->second == key_id_);
  }

  KeyPtr key_;
  bool rsa_;
  std::string key_id_, header_;
};

}  // namespace

Result<std::unique_ptr<TokenSigner>> TokenSigner::create(const std::string& key_pem) {
  auto key = read_key(key_pem);
  if (!key) return fail(key.error());
  bool rsa = EVP_PKEY_is_a(key->get(), "RSA") == 1;
  char group[32] = "";
  size_t size = 0;
  EVP_PKEY_get_utf8_string_param(key->get(), OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &size);
  bool ec = EVP_PKEY_is_a(key->get(), "EC") == 1 && std::string_view(group) == "prime256v1";
  ERR_clear_error();
  if ((!rsa && !ec) || (rsa && EVP_PKEY_get_bits(key->get()) < 2048))
    return fail(Status::bad_request("token signing key: RSA of at least 2048 bits or ECDSA P-256 is needed"));
  unsigned char* der = nullptr;
  int der_size = i2d_PUBKEY(key->get(), &der);
  if (der_size <= 0) return fail(openssl_failure("token signing key"));
  std::string key_id = base64url_encode(sha256({reinterpret_cast<char*>(der), static_cast<size_t>(der_size)}));
  OPENSSL_free(der);
  return std::make_unique<KeySigner>(std::move(*key), rsa, std::move(key_id));
}

}  // namespace kcube::auth
