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

std::string big_number(EVP_PKEY* key, const char* name, int size = 0) {
  BIGNUM* raw = nullptr;
  EVP_PKEY_get_bn_param(key, name, &raw);
  BigNumber number(raw);
  if (!number) return {};
  std::string bytes(static_cast<size_t>(std::max(size, BN_num_bytes(number.get()))), '\0');
  BN_bn2binpad(number.get(), reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  return bytes;
}

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

// ECDSA signatures are ASN.1 in OpenSSL and two plain numbers in a JWT (RFC 7518 section 3.4).
std::optional<std::string> ec_to_plain(const std::string& der) {
  const unsigned char* p = bytes_of(der);
  EcdsaSigPtr signature(d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(der.size())));
  if (!signature) return std::nullopt;
  std::string plain(2 * kEcHalf, '\0');
  auto* out = reinterpret_cast<unsigned char*>(plain.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out, kEcHalf);
  BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out + kEcHalf, kEcHalf);
  return plain;
}

std::optional<std::string> ec_from_plain(const std::string& plain) {
  if (plain.size() != 2 * kEcHalf) return std::nullopt;
  EcdsaSigPtr signature(ECDSA_SIG_new());
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(bytes_of(plain), kEcHalf, nullptr),
                 BN_bin2bn(bytes_of(plain) + kEcHalf, kEcHalf, nullptr));
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return std::nullopt;
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

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
      auto plain = ec_to_plain(signature);
      if (!plain) return fail(openssl_failure("sign token"));
      signature = std::move(*plain);
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
    if (!rsa_) signature = ec_from_plain(*signature);
    if (!signature) return fail(unauthorized());
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
