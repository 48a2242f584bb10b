#include <ctime>

#include "pkg/auth/openssl.h"

namespace kcube::auth {
namespace {

constexpr std::chrono::seconds kBackdate = std::chrono::minutes(5);  // for clocks that are behind

int no_password(char*, int, int, void*) { return 0; }

Result<KeyPtr> new_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return fail(openssl_failure("generate key"));
  return key;
}

Result<std::string> key_text(EVP_PKEY* key) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return fail(openssl_failure("write key"));
  return bio_text(bio.get());
}

SystemTime time_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return SystemTime();
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

void set_times(X509* certificate, std::chrono::seconds lifetime, const X509* ca) {
  time_t now = ::time(nullptr);
  ASN1_TIME_set(X509_getm_notBefore(certificate), now - kBackdate.count());
  time_t end = now + lifetime.count();
  if (ca) end = std::min(end, std::chrono::system_clock::to_time_t(time_of(X509_get0_notAfter(ca))));
  ASN1_TIME_set(X509_getm_notAfter(certificate), end);
}

// Version 3 with a random serial number of 127 bits.
Result<CertificatePtr> blank(const X509_NAME* subject, EVP_PKEY* key) {
  CertificatePtr certificate(X509_new());
  BigNumber serial(BN_new());
  bool ok = X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
            BN_rand(serial.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
            BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) != nullptr &&
            X509_set_subject_name(certificate.get(), subject) == 1 && X509_set_pubkey(certificate.get(), key) == 1;
  if (!ok) return fail(openssl_failure("certificate"));
  return certificate;
}

}  // namespace

Status openssl_failure(std::string_view what) {
  char text[256] = "unknown error";
  if (auto error = ERR_peek_error(); error != 0) ERR_error_string_n(error, text, sizeof text);
  ERR_clear_error();
  return Status::internal(std::string(what) + ": " + text);
}

BioPtr read_bio(const std::string& bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

Result<KeyPtr> read_key(const std::string& pem) {
  KeyPtr key(PEM_read_bio_PrivateKey(read_bio(pem).get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  if (!key) return fail(Status::bad_request("not a PEM private key"));
  return key;
}

Result<CertificatePtr> read_certificate(const std::string& pem) {
  CertificatePtr certificate(PEM_read_bio_X509(read_bio(pem).get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  if (!certificate) return fail(Status::bad_request("not a PEM certificate"));
  return certificate;
}

std::string certificate_text(X509* certificate) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return bio_text(bio.get());
}

std::string der_of(const X509* certificate) {
  unsigned char* der = nullptr;
  int size = i2d_X509(certificate, &der);
  if (size <= 0) return {};
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

Result<CertificatePtr> sign_certificate(const KeyPair& ca, const NewCertificate& wanted) {
  auto issuer = read_certificate(ca.certificate_pem);
  if (!issuer) return fail(issuer.error().with_context("authority"));
  auto issuer_key = read_key(ca.key_pem);
  if (!issuer_key) return fail(issuer_key.error().with_context("authority"));
  auto certificate = blank(wanted.subject, wanted.key);
  if (!certificate) return certificate;
  X509* made = certificate->get();
  set_times(made, wanted.lifetime, issuer->get());
  X509_set_issuer_name(made, X509_get_subject_name(issuer->get()));
  if (auto ok = add_identity(made, issuer->get(), false); !ok) return fail(ok.error());
  if (auto ok = add_usages(made, wanted.usages); !ok) return fail(ok.error());
  if (wanted.names && X509_add1_ext_i2d(made, NID_subject_alt_name, const_cast<GENERAL_NAMES*>(wanted.names),
                                        X509_NAME_entry_count(wanted.subject) == 0, 0) != 1)
    return fail(openssl_failure("alternative names"));
  if (X509_sign(made, issuer_key->get(), EVP_sha256()) == 0) return fail(openssl_failure("sign certificate"));
  return certificate;
}

Result<KeyPair> make_ca(const std::string& common_name, std::chrono::seconds lifetime) {
  auto key = new_key();
  if (!key) return fail(key.error());
  std::unique_ptr<X509_NAME, Freed<X509_NAME_free>> subject(X509_NAME_new());
  if (auto ok = set_subject(subject.get(), common_name, {}); !ok) return fail(ok.error());
  auto certificate = blank(subject.get(), key->get());
  if (!certificate) return fail(certificate.error());
  X509* made = certificate->get();
  set_times(made, lifetime, nullptr);
  X509_set_issuer_name(made, subject.get());
  if (auto ok = add_identity(made, made, true); !ok) return fail(ok.error());
  if (auto ok = add_usages(made, {"digital signature", "key encipherment", "cert sign"}); !ok) return fail(ok.error());
  if (X509_sign(made, key->get(), EVP_sha256()) == 0) return fail(openssl_failure("sign certificate"));
  auto key_pem = key_text(key->get());
  if (!key_pem) return fail(key_pem.error());
  return KeyPair{certificate_text(made), std::move(*key_pem)};
}

Result<KeyPair> issue(const KeyPair& ca, const CertificateRequest& request) {
  auto key = new_key();
  if (!key) return fail(key.error());
  std::unique_ptr<X509_NAME, Freed<X509_NAME_free>> subject(X509_NAME_new());
  if (auto ok = set_subject(subject.get(), request.common_name, request.organizations); !ok) return fail(ok.error());
  auto names = make_names({request.dns_names, request.ip_addresses, {}, {}});
  if (!names) return fail(names.error());
  std::vector<std::string> usages = {"digital signature", "key encipherment"};
  if (request.server) usages.push_back("server auth");
  if (request.client) usages.push_back("client auth");
  auto certificate = sign_certificate(ca, {subject.get(), key->get(), names->get(), usages, request.lifetime});
  if (!certificate) return fail(certificate.error());
  auto key_pem = key_text(key->get());
  if (!key_pem) return fail(key_pem.error());
  return KeyPair{certificate_text(certificate->get()), std::move(*key_pem)};
}

Result<std::string> make_key() {
  auto key = new_key();
  if (!key) return fail(key.error());
  return key_text(key->get());
}

Result<ParsedCertificate> parse_certificate(const std::string& pem) {
  auto certificate = read_certificate(pem);
  if (!certificate) return fail(certificate.error());
  X509* x = certificate->get();
  ParsedCertificate parsed;
  parsed.common_name = common_name_of(X509_get_subject_name(x));
  parsed.organizations = entries_of(X509_get_subject_name(x), NID_organizationName);
  parsed.not_before = time_of(X509_get0_notBefore(x));
  parsed.not_after = time_of(X509_get0_notAfter(x));
  NamesPtr names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  if (names) {
    auto found = read_names(names.get());
    parsed.dns_names = std::move(found.dns_names);
    parsed.ip_addresses = std::move(found.ip_addresses);
  }
  return parsed;
}

Result<std::string> certificate_hash(const std::string& pem) {
  auto certificate = read_certificate(pem);
  if (!certificate) return fail(certificate.error());
  return sha256_hex(der_of(certificate->get()));
}

}  // namespace kcube::auth
