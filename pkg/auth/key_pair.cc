#include "pkg/auth/key_pair.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "pkg/auth/openssl.h"

namespace kcube::auth {
namespace {

// The types of the blocks of a PEM text.
std::vector<std::string> blocks_of(const std::string& pem) {
  std::vector<std::string> types;
  BioPtr bio = read_bio(pem);
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  for (long size = 0; PEM_read_bio(bio.get(), &name, &header, &data, &size) == 1;) {
    types.emplace_back(name);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
  }
  ERR_clear_error();
  return types;
}

std::string listed(const std::vector<std::string>& types) {
  std::string out;
  for (const std::string& type : types) out += (out.empty() ? "" : " ") + type;
  return "[" + out + "]";
}

bool is_key(std::string_view type) { return type == "PRIVATE KEY" || type.ends_with(" PRIVATE KEY"); }

std::string missing_certificate(const std::vector<std::string>& types) {
  if (types.empty()) return "tls: failed to find any PEM data in certificate input";
  if (types.size() == 1 && is_key(types[0])) return "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched";
  return "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: " + listed(types);
}

std::string missing_key(const std::vector<std::string>& types) {
  if (types.empty()) return "tls: failed to find any PEM data in key input";
  if (types.size() == 1 && types[0] == "CERTIFICATE") return "tls: found a certificate rather than a key in the PEM for the private key";
  return "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: " + listed(types);
}

}  // namespace

std::string key_pair_problem(const std::string& certificate_pem, const std::string& key_pem) {
  const auto certificates = blocks_of(certificate_pem), keys = blocks_of(key_pem);
  if (std::ranges::find(certificates, "CERTIFICATE") == certificates.end()) return missing_certificate(certificates);
  if (std::ranges::none_of(keys, is_key)) return missing_key(keys);
  auto certificate = read_certificate(certificate_pem);
  if (!certificate) return "x509: malformed certificate";
  auto key = read_key(key_pem);
  if (!key) return "tls: failed to parse private key";
  const bool fit = EVP_PKEY_eq(X509_get0_pubkey(certificate->get()), key->get()) == 1;
  ERR_clear_error();
  return fit ? "" : "tls: private key does not match public key";
}

}  // namespace kcube::auth
