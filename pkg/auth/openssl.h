// OpenSSL's objects with owners, and PEM to and from them. Private to pkg/auth. Thread-safe.
#pragma once

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "pkg/auth/auth.h"

namespace kcube::auth {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using BigNumber = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using CertificatePtr = std::unique_ptr<X509, Freed<X509_free>>;
using CsrPtr = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using EcdsaSigPtr = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;

BioPtr read_bio(const std::string& bytes);
std::string bio_text(BIO* bio);
Result<KeyPtr> read_key(const std::string& pem);
Result<CertificatePtr> read_certificate(const std::string& pem);
Result<CsrPtr> read_csr(const std::string& pem);
std::string certificate_text(X509* certificate);
// The failure with OpenSSL's first reason; empties its queue.
Status openssl_failure(std::string_view what);

// --- Numbers and signatures ---
inline const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
// A number of a key (OSSL_PKEY_PARAM_...) in big-endian bytes, padded to `size`; empty when the key has none.
std::string big_number(EVP_PKEY* key, const char* name, int size = 0);
// ECDSA signatures are ASN.1 in OpenSSL and two plain numbers of `half` bytes each in a JWT (RFC 7518 section 3.4).
// Empty when they are none.
std::string ecdsa_to_plain(const std::string& der, size_t half);
std::string ecdsa_from_plain(const std::string& plain, size_t half);

// --- Subjects and extensions ---
struct AlternativeNames {
  std::vector<std::string> dns_names, ip_addresses, emails, uris;
};
Result<void> set_subject(X509_NAME* name, const std::string& common_name,
                         const std::vector<std::string>& organizations);
std::string common_name_of(const X509_NAME* name);
std::vector<std::string> entries_of(const X509_NAME* name, int nid);
// Null when there are none; fails on addresses that are none.
Result<NamesPtr> make_names(const AlternativeNames& names);
AlternativeNames read_names(const GENERAL_NAMES* names);
std::string der_of(const X509* certificate);

// What a certificate is for, in the words of certificates.k8s.io ("client auth", "key encipherment").
Result<void> add_usages(X509* certificate, const std::vector<std::string>& usages);
Result<void> add_identity(X509* certificate, X509* issuer, bool authority);

struct NewCertificate {
  const X509_NAME* subject;
  EVP_PKEY* key;
  const GENERAL_NAMES* names = nullptr;
  std::vector<std::string> usages;
  std::chrono::seconds lifetime;
};
// Signed by `ca`, never outliving it.
Result<CertificatePtr> sign_certificate(const KeyPair& ca, const NewCertificate& wanted);

}  // namespace kcube::auth
