#include "pkg/auth/openssl.h"

namespace kcube::auth {
namespace {

using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), decltype([](STACK_OF(X509_EXTENSION) * list) {
                                        sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
                                      })>;

NamesPtr names_of(X509_REQ* csr) {
  ExtensionsPtr extensions(X509_REQ_get_extensions(csr));
  NamesPtr names;
  if (extensions)
    names.reset(static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions.get(), NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  return names;
}

Result<void> add_names(X509_REQ* csr, const GENERAL_NAMES* names) {
  STACK_OF(X509_EXTENSION)* list = nullptr;
  bool ok = X509V3_add1_i2d(&list, NID_subject_alt_name, const_cast<GENERAL_NAMES*>(names), 0, X509V3_ADD_DEFAULT) == 1;
  ExtensionsPtr extensions(list);
  if (!ok || X509_REQ_add_extensions(csr, extensions.get()) != 1) return fail(openssl_failure("alternative names"));
  return {};
}

}  // namespace

Result<CsrPtr> read_csr(const std::string& pem) {
  CsrPtr csr(PEM_read_bio_X509_REQ(read_bio(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!csr) return fail(Status::bad_request("PEM block type must be CERTIFICATE REQUEST"));
  EVP_PKEY* key = X509_REQ_get0_pubkey(csr.get());
  bool signed_well = key && X509_REQ_verify(csr.get(), key) == 1;
  ERR_clear_error();
  if (!signed_well) return fail(Status::bad_request("the signature of the certificate request is not valid"));
  return csr;
}

Result<std::string> make_csr(const std::string& key_pem, const CertificateRequest& request) {
  auto key = read_key(key_pem);
  if (!key) return fail(key.error());
  CsrPtr csr(X509_REQ_new());
  X509_REQ_set_version(csr.get(), X509_REQ_VERSION_1);
  if (auto ok = set_subject(X509_REQ_get_subject_name(csr.get()), request.common_name, request.organizations); !ok)
    return fail(ok.error());
  auto names = make_names({request.dns_names, request.ip_addresses, {}, {}});
  if (!names) return fail(names.error());
  if (*names)
    if (auto ok = add_names(csr.get(), names->get()); !ok) return fail(ok.error());
  if (X509_REQ_set_pubkey(csr.get(), key->get()) != 1 || X509_REQ_sign(csr.get(), key->get(), EVP_sha256()) == 0)
    return fail(openssl_failure("sign certificate request"));
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), csr.get());
  return bio_text(bio.get());
}

Result<ParsedCsr> parse_csr(const std::string& csr_pem) {
  auto csr = read_csr(csr_pem);
  if (!csr) return fail(csr.error());
  ParsedCsr parsed;
  X509_NAME* subject = X509_REQ_get_subject_name(csr->get());
  parsed.common_name = common_name_of(subject);
  parsed.organizations = entries_of(subject, NID_organizationName);
  if (auto names = names_of(csr->get())) {
    auto found = read_names(names.get());
    parsed.dns_names = std::move(found.dns_names);
    parsed.ip_addresses = std::move(found.ip_addresses);
    parsed.emails = std::move(found.emails);
    parsed.uris = std::move(found.uris);
  }
  return parsed;
}

Result<std::string> sign_csr(const KeyPair& ca, const std::string& csr_pem, const std::vector<std::string>& usages,
                             std::chrono::seconds lifetime) {
  auto csr = read_csr(csr_pem);
  if (!csr) return fail(csr.error());
  // Only names are taken over from the request; other extensions (such as CA:TRUE) are not.
  auto names = names_of(csr->get());
  auto certificate = sign_certificate(
      ca, {X509_REQ_get_subject_name(csr->get()), X509_REQ_get0_pubkey(csr->get()), names.get(), usages, lifetime});
  if (!certificate) return fail(certificate.error());
  return certificate_text(certificate->get());
}

}  // namespace kcube::auth
