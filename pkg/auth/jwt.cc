#include "pkg/auth/jwt.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <map>

#include "pkg/auth/jws_header.h"
#include "pkg/auth/openssl.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

constexpr size_t kMaxToken = 64 << 10;

using ParamsBuilder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Freed<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

BigNumber number_of(const std::string& bytes) { return BigNumber(BN_bin2bn(bytes_of(bytes), static_cast<int>(bytes.size()), nullptr)); }

struct Curve {
  const char *name, *group, *algorithm;
  size_t half;   // bytes of a coordinate
};
constexpr Curve kCurves[] = {{"P-256", "prime256v1", "ES256", 32}, {"P-384", "secp384r1", "ES384", 48}, {"P-521", "secp521r1", "ES512", 66}};

class Key final : public PublicKey {
 public:
  Key(KeyPtr key, const Curve* curve) : key_(std::move(key)), curve_(curve) {
    unsigned char* der = nullptr;
    int size = i2d_PUBKEY(key_.get(), &der);
    if (size > 0) key_id_ = base64url_encode(sha256({reinterpret_cast<char*>(der), static_cast<size_t>(size)}));
    OPENSSL_free(der);
  }

  bool verify(const Jwt& token) const override {
    const EVP_MD* digest = digest_of(token.algorithm);
    if (digest == nullptr) return false;
    std::string signature = curve_ != nullptr ? ecdsa_from_plain(token.signature, curve_->half) : token.signature;
    if (signature.empty()) return false;
    DigestContextPtr context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* parameters = nullptr;
    bool ok = EVP_DigestVerifyInit(context.get(), &parameters, digest, nullptr, key_.get()) == 1;
    if (ok && token.algorithm.starts_with("PS"))
      ok = EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_AUTO) == 1;
    ok = ok && EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(token.signed_part), token.signed_part.size()) == 1;
    ERR_clear_error();
    return ok;
  }

  const std::string& key_id() const override { return key_id_; }
  const char* algorithm() const override { return curve_ != nullptr ? curve_->algorithm : "RS256"; }

  std::string jwk_json() const override {
    auto member = [](const char* name, const std::string& bytes) { return std::string(",\"") + name + "\":\"" + base64url_encode(bytes) + "\""; };
    std::string head = "{\"use\":\"sig\",\"kty\":\"" + std::string(curve_ != nullptr ? "EC" : "RSA") + "\",\"kid\":\"" + key_id_ + "\"";
    if (curve_ == nullptr) return head + ",\"alg\":\"RS256\"" + member("n", big_number(key_.get(), OSSL_PKEY_PARAM_RSA_N)) + member("e", big_number(key_.get(), OSSL_PKEY_PARAM_RSA_E)) + "}";
    int half = static_cast<int>(curve_->half);
    return head + ",\"crv\":\"" + curve_->name + "\",\"alg\":\"" + curve_->algorithm + "\"" + member("x", big_number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, half)) + member("y", big_number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, half)) + "}";
  }

 private:
  // Null when this kind of key has no such algorithm.
  const EVP_MD* digest_of(const std::string& algorithm) const {
    if (curve_ != nullptr && algorithm != curve_->algorithm) return nullptr;
    if (curve_ == nullptr && !algorithm.starts_with("RS") && !algorithm.starts_with("PS")) return nullptr;
    if (algorithm.size() != 5) return nullptr;
    std::string_view bits = std::string_view(algorithm).substr(2);
    if (bits == "256") return EVP_sha256();
    if (bits == "384") return EVP_sha384();
    return bits == "512" ? EVP_sha512() : nullptr;
  }

  KeyPtr key_;
  const Curve* curve_;      // null: RSA
  std::string key_id_;
};

Result<std::shared_ptr<const PublicKey>> make(KeyPtr key) {
  constexpr int kMinRsaBits = 1024;
  if (EVP_PKEY_is_a(key.get(), "RSA") == 1) {
    if (EVP_PKEY_get_bits(key.get()) < kMinRsaBits) return fail(Status::bad_request("the RSA key is too short"));
    return std::make_shared<const Key>(std::move(key), nullptr);
  }
  char group[64] = {};
  if (EVP_PKEY_is_a(key.get(), "EC") == 1 && EVP_PKEY_get_group_name(key.get(), group, sizeof group, nullptr) == 1)
    for (const Curve& curve : kCurves)
      if (std::string_view(group) == curve.group) return std::make_shared<const Key>(std::move(key), &curve);
  return fail(Status::bad_request("neither an RSA key nor one of P-256, P-384 and P-521"));
}

Result<std::shared_ptr<const PublicKey>> from_parameters(const char* type, OSSL_PARAM_BLD* builder) {
  Params parameters(OSSL_PARAM_BLD_to_param(builder));
  KeyContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* raw = nullptr;
  bool ok = parameters && context && EVP_PKEY_fromdata_init(context.get()) == 1 && EVP_PKEY_fromdata(context.get(), &raw, EVP_PKEY_PUBLIC_KEY, parameters.get()) == 1;
  KeyPtr key(raw);
  ERR_clear_error();
  if (!ok) return fail(Status::bad_request(std::string("not a public key of type ") + type));
  return make(std::move(key));
}

Status malformed() { return Status(401, "Unauthorized", "malformed token"); }

}  // namespace

Result<Jwt> parse_jwt(const std::string& token) {
  if (token.size() > kMaxToken) return fail(malformed());
  auto parts = split(token, '.');
  if (parts.size() != 3) return fail(malformed());
  auto header = base64url_decode(parts[0]), claims = base64url_decode(parts[1]), signature = base64url_decode(parts[2]);
  if (!header || !claims || !signature) return fail(malformed());
  std::map<std::string, std::string> members;
  if (!read_jws_header(*header, members) || members.contains("crit")) return fail(malformed());
  Jwt jwt{members["alg"], members["kid"], std::move(*claims), token.substr(0, parts[0].size() + 1 + parts[1].size()), std::move(*signature)};
  if (jwt.algorithm.empty()) return fail(malformed());
  return jwt;
}

Result<std::vector<std::shared_ptr<const PublicKey>>> PublicKey::from_pem(const std::string& pem) {
  std::vector<std::shared_ptr<const PublicKey>> keys;
  constexpr std::string_view kBegin = "-----BEGIN ", kEnd = "-----END ";
  size_t at = 0;
  while ((at = pem.find(kBegin, at)) != std::string::npos) {
    size_t end = pem.find(kEnd, at);
    if (end == std::string::npos) break;
    size_t line = pem.find('\n', end);
    std::string block = pem.substr(at, line == std::string::npos ? line : line + 1 - at);
    at = end + kEnd.size();
    if (block.starts_with("-----BEGIN EC PARAMETERS")) continue;
    BioPtr bio = read_bio(block);
    KeyPtr key;
    if (block.starts_with("-----BEGIN CERTIFICATE")) {
      auto certificate = read_certificate(block);
      if (certificate) key.reset(X509_get_pubkey(certificate->get()));
    } else if (block.find("PRIVATE KEY") != std::string::npos) {
      key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
    } else {
      key.reset(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
    }
    ERR_clear_error();
    if (!key) return fail(Status::bad_request("a PEM block holds no key"));
    auto made = make(std::move(key));
    if (!made) return fail(made.error());
    keys.push_back(std::move(*made));
  }
  if (keys.empty()) return fail(Status::bad_request("data does not contain any valid RSA or ECDSA public keys"));
  return keys;
}

Result<std::shared_ptr<const PublicKey>> PublicKey::from_rsa(const std::string& modulus, const std::string& exponent) {
  BigNumber n = number_of(modulus), e = number_of(exponent);
  ParamsBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  return from_parameters("RSA", builder.get());
}

Result<std::shared_ptr<const PublicKey>> PublicKey::from_ec(const std::string& curve, const std::string& x, const std::string& y) {
  for (const Curve& c : kCurves) {
    if (curve != c.name || x.size() > c.half || y.size() > c.half) continue;
    std::string point = "\x04" + std::string(c.half - x.size(), '\0') + x + std::string(c.half - y.size(), '\0') + y;
    ParamsBuilder builder(OSSL_PARAM_BLD_new());
    OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, c.group, 0);
    OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    return from_parameters("EC", builder.get());
  }
  return fail(Status::bad_request("unknown curve " + curve));
}

bool is_signed_by(const std::string& certificate_der, const std::string& ca_pem) {
  const unsigned char* p = bytes_of(certificate_der);
  CertificatePtr leaf(d2i_X509(nullptr, &p, static_cast<long>(certificate_der.size())));
  StorePtr store(X509_STORE_new());
  BioPtr bio = read_bio(ca_pem);
  while (CertificatePtr ca{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) X509_STORE_add_cert(store.get(), ca.get());
  StoreContextPtr context(X509_STORE_CTX_new());
  bool ok = leaf && X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr) == 1;
  if (ok) {
    X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT);
    X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_PARTIAL_CHAIN);
    ok = X509_verify_cert(context.get()) == 1;
  }
  ERR_clear_error();
  return ok;
}

}  // namespace kcube::auth
