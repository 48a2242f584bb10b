// Tokens, certificate requests and certificates from strangers: refused or read, never a crash; no forged token passes.
#include "pkg/auth/auth.h"
#include "pkg/base/strings.h"

using namespace kcube;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const auto signer = auth::TokenSigner::create(auth::make_key().value()).value();
  std::string input(reinterpret_cast<const char*>(bytes), size);
  if (signer->verify(input)) __builtin_trap();
  if (signer->verify(base64url_encode(input) + ".e30." + base64url_encode(std::string(64, '\1')))) __builtin_trap();
  (void)auth::JoinToken::parse(input);
  (void)auth::parse_csr(input);
  (void)auth::parse_certificate(input);
  std::string der = base64_encode(input);
  (void)auth::parse_csr("-----BEGIN CERTIFICATE REQUEST-----\n" + der + "\n-----END CERTIFICATE REQUEST-----\n");
  (void)auth::parse_certificate("-----BEGIN CERTIFICATE-----\n" + der + "\n-----END CERTIFICATE-----\n");
  return 0;
}
