#include <gtest/gtest.h>

#include "pkg/auth/auth.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

std::string rsa_key() { return process::run({"openssl", "genrsa", "2048"}).value().out; }

class Tokens : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<TokenSigner> signer_ = TokenSigner::create(GetParam() ? rsa_key() : make_key().value()).value();
};

TEST_P(Tokens, VerifiesItsOwnAndNoOther) {
  std::string claims = R"({"sub":"system:serviceaccount:default:default","exp":1})";
  auto token = signer_->sign(claims).value();
  EXPECT_EQ(signer_->verify(token).value(), claims);
  auto other = TokenSigner::create(make_key().value()).value();
  EXPECT_EQ(other->verify(token).error().code(), 401);
  for (size_t i = 0; i < token.size(); i += 7) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(signer_->verify(changed)) << i;
  }
}

TEST_P(Tokens, RefusesOtherAlgorithms) {
  auto token = signer_->sign("{}").value();
  auto parts = split(token, '.');
  for (std::string header : {R"({"alg":"none"})", R"({"alg":"HS256"})", R"({})", R"({"alg":["RS256","ES256"]})", "[]",
                             "", R"({"alg":"none","alg":"RS256"})"}) {
    auto forged = base64url_encode(header) + "." + std::string(parts[1]) + "." + std::string(parts[2]);
    EXPECT_FALSE(signer_->verify(forged)) << header;
    auto unsigned_token = base64url_encode(header) + "." + std::string(parts[1]) + ".";
    EXPECT_FALSE(signer_->verify(unsigned_token)) << header;
  }
  for (std::string bad : {"", ".", "..", "...", "a.b.c", "\xff.\xff.\xff"}) EXPECT_FALSE(signer_->verify(bad));
}

TEST_P(Tokens, JwkNamesTheKey) {
  auto jwk = signer_->jwk_json();
  EXPECT_NE(jwk.find(GetParam() ? "\"alg\":\"RS256\"" : "\"alg\":\"ES256\""), std::string::npos) << jwk;
  auto header = base64url_decode(split(signer_->sign("{}").value(), '.')[0]).value();
  auto kid = header.substr(header.find("kid") + 6, 43);
  EXPECT_NE(jwk.find(kid), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(KeyTypes, Tokens, testing::Bool());

TEST(TokenSigner, RefusesWeakAndMalformedKeys) {
  EXPECT_FALSE(TokenSigner::create("x"));
  EXPECT_FALSE(TokenSigner::create(process::run({"openssl", "genrsa", "1024"}).value().out));
}

}  // namespace
}  // namespace kcube::auth
