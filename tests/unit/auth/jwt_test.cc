#include "pkg/auth/jwt.h"

#include <gtest/gtest.h>

#include "pkg/auth/auth.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

std::string token_of(const std::string& header, const std::string& claims) { return base64url_encode(header) + "." + base64url_encode(claims) + "." + base64url_encode("signature"); }

TEST(Jwt, IsTakenApart) {
  auto jwt = parse_jwt(token_of(R"({"alg":"RS256","kid":"one","typ":"JWT"})", R"({"iss":"x"})"));
  ASSERT_TRUE(jwt);
  EXPECT_EQ(jwt->algorithm, "RS256");
  EXPECT_EQ(jwt->key_id, "one");
  EXPECT_EQ(jwt->claims_json, R"({"iss":"x"})");
  EXPECT_EQ(jwt->signature, "signature");
}

TEST(Jwt, IsRefusedWhenMalformed) {
  for (const std::string& text : {std::string("a.b"), std::string("a.b.c.d"), std::string(""), token_of("{}", "{}"), token_of(R"({"alg":"RS256","crit":"x"})", "{}"), token_of(R"({"alg":"RS256","alg":"none"})", "{}"),
                                  std::string(70000, 'a') + "." + std::string(8, 'a') + ".aaaa"})
    EXPECT_FALSE(parse_jwt(text)) << text.substr(0, 60);
}

TEST(PublicKey, VerifiesWhatItsPrivateHalfSigned) {
  std::string pem = *make_key();
  auto signer = TokenSigner::create(pem);
  auto keys = PublicKey::from_pem(pem);
  ASSERT_TRUE(signer && keys);
  ASSERT_EQ(keys->size(), 1U);
  auto jwt = parse_jwt(*(*signer)->sign(R"({"sub":"a"})"));
  ASSERT_TRUE(jwt);
  EXPECT_TRUE(keys->front()->verify(*jwt));
  EXPECT_EQ(jwt->key_id, keys->front()->key_id());
  EXPECT_EQ((*signer)->jwk_json(), keys->front()->jwk_json());
}

TEST(PublicKey, RefusesOtherKeysAlgorithmsAndText) {
  auto signer = TokenSigner::create(*make_key());
  std::string pem = *make_key();
  auto other = PublicKey::from_pem(pem);
  auto own = TokenSigner::create(pem);
  auto jwt = parse_jwt(*(*own)->sign("{}"));
  auto foreign = parse_jwt(*(*signer)->sign("{}"));
  EXPECT_FALSE(other->front()->verify(*foreign));
  for (const char* algorithm : {"none", "HS256", "RS256", "ES384", ""}) {
    Jwt changed = *jwt;
    changed.algorithm = algorithm;
    EXPECT_FALSE(other->front()->verify(changed)) << algorithm;
  }
  Jwt changed = *jwt;
  changed.signed_part += "x";
  EXPECT_FALSE(other->front()->verify(changed));
}

TEST(PublicKey, IsMadeOfTheNumbersOfAJwk) {
  // RFC 7517, appendix A.1.
  auto key = PublicKey::from_ec("P-256", *base64url_decode("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"), *base64url_decode("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"));
  ASSERT_TRUE(key);
  EXPECT_STREQ((*key)->algorithm(), "ES256");
  EXPECT_FALSE(PublicKey::from_ec("P-256", std::string(32, 'a'), std::string(32, 'b')));
  EXPECT_FALSE(PublicKey::from_ec("P-192", "a", "b"));
}

// RFC 7515, appendix A.2.
TEST(PublicKey, VerifiesTheExampleOfRs256) {
  auto key = PublicKey::from_rsa(
      *base64url_decode("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"),
      *base64url_decode("AQAB"));
  ASSERT_TRUE(key);
  auto jwt = parse_jwt(
      "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
  ASSERT_TRUE(jwt);
  EXPECT_TRUE((*key)->verify(*jwt));
}

TEST(ClientCertificates, AreKnownByTheirAuthority) {
  auto ca = make_ca("one", std::chrono::hours(1)), other = make_ca("two", std::chrono::hours(1));
  CertificateRequest request;
  request.common_name = "client";
  request.client = true;
  auto pair = issue(*ca, request);
  ASSERT_TRUE(pair);
  std::string pem = pair->certificate_pem, body = pem.substr(pem.find('\n') + 1);
  body = replace_all(body.substr(0, body.find("-----")), "\n", "");
  std::string der = *base64_decode(body);
  EXPECT_TRUE(is_signed_by(der, ca->certificate_pem));
  EXPECT_TRUE(is_signed_by(der, other->certificate_pem + ca->certificate_pem));
  EXPECT_FALSE(is_signed_by(der, other->certificate_pem));
  EXPECT_FALSE(is_signed_by("nonsense", ca->certificate_pem));
}

}  // namespace
}  // namespace kcube::auth
