// Tokens, certificate requests and certificates from strangers: refused or read, never a crash; no forged token passes.
#include "pkg/auth/auth.h"
#include "pkg/auth/encryption.h"
#include "pkg/auth/jwt.h"
#include "pkg/auth/kms_messages.h"
#include "pkg/base/strings.h"
#include "tests/fuzz/driver/fuzz.h"

using namespace kcube;

std::vector<std::string> kcube::fuzz::seeds() {
  auto jwt = [](const char* header, const char* claims) { return base64url_encode(header) + "." + base64url_encode(claims) + "." + base64url_encode(std::string(64, 's')); };
  return {jwt(R"({"alg":"ES256","kid":"k"})", R"({"iss":"i","sub":"s","aud":["a"],"exp":4102444800,"nbf":1,"iat":1.5,"kubernetes.io":{"namespace":"n"}})"),
          jwt(R"({"alg":"RS256","typ":"JWT"})", R"({"aud":"a","exp":1e300})"), jwt(R"({"alg":"none"})", "{}"), R"({"alg":"PS512","crit":["x"]})",
          auth::to_bytes({"data", "key-1", "source", {{"a.example.com", "note"}}, auth::kKmsSeed}), auth::kms_decrypt_request({"", "key-1", "source", {{"a.example.com", "note"}}}, "uid"), std::string("\x0a\x02v2\x12\x02ok\x1a\x05key-1"),
          "K10" + std::string(64, 'a') + "::abcdef:0123456789abcdef", std::string("\x30\x82\x01\x00\x02\x01\x00", 7)};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const auto signer = auth::TokenSigner::create(auth::make_key().value()).value();
  std::string input(reinterpret_cast<const char*>(bytes), size);
  if (signer->verify(input)) __builtin_trap();
  if (signer->verify(base64url_encode(input) + ".e30." + base64url_encode(std::string(64, '\1')))) __builtin_trap();
  static const auto keys = auth::PublicKey::from_pem(auth::make_key().value()).value();
  for (const std::string& text : {input, base64url_encode(input) + ".e30." + base64url_encode(input)})
    if (auto jwt = auth::parse_jwt(text); jwt && keys.front()->verify(*jwt)) __builtin_trap();
  (void)auth::PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\n" + base64_encode(input) + "\n-----END PUBLIC KEY-----\n");
  (void)auth::PublicKey::from_rsa(input, "\x01");
  (void)auth::PublicKey::from_ec("P-256", input.substr(0, 32), input.substr(std::min<size_t>(size, 32), 32));
  // What a KMS plugin answers, and what stands in the database as if it came from one.
  (void)auth::parse_kms_status(input);
  (void)auth::parse_kms_decrypted(input);
  if (auto sealed = auth::parse_kms_encrypted(input)) (void)auth::check_kms_annotations(sealed->annotations);
  if (auto sealed = auth::parse_kms_sealed(input)) {
    auto again = auth::parse_kms_sealed(auth::to_bytes(*sealed));
    if (!again || again->data != sealed->data || again->annotations != sealed->annotations || again->source_type != sealed->source_type) __builtin_trap();
  }
  static const auto seed = auth::make_kms_sealer(auth::kKmsSeed, std::string(32, 's')).value();
  if (seed->open(input, "/p")) __builtin_trap();
  // A box that nobody sealed does not open; CBC has no way to tell.
  for (const char* provider : {"aesgcm", "secretbox"})
    if (auth::make_sealer(provider, "k", std::string(32, 'k')).value()->open(input, "/p")) __builtin_trap();
  (void)auth::make_sealer("aescbc", "k", std::string(32, 'k')).value()->open(input, "/p");
  (void)auth::JoinToken::parse(input);
  (void)auth::parse_csr(input);
  (void)auth::parse_certificate(input);
  std::string der = base64_encode(input);
  (void)auth::parse_csr("-----BEGIN CERTIFICATE REQUEST-----\n" + der + "\n-----END CERTIFICATE REQUEST-----\n");
  (void)auth::parse_certificate("-----BEGIN CERTIFICATE-----\n" + der + "\n-----END CERTIFICATE-----\n");
  return 0;
}
