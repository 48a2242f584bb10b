#include <gtest/gtest.h>

#include "pkg/auth/auth.h"
#include "pkg/auth/key_pair.h"
#include "pkg/base/file.h"
#include "pkg/base/process.h"

namespace kcube::auth {
namespace {

using std::chrono::hours;

class Certificates : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/kcube-auth-XXXXXX";
    directory_ = ::mkdtemp(path);
  }
  void TearDown() override { (void)file::remove_tree(directory_); }
  std::string save(const std::string& name, const std::string& text) {
    EXPECT_TRUE(file::write(directory_ + "/" + name, text));
    return directory_ + "/" + name;
  }
  std::string openssl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "openssl");
    auto output = process::run(arguments);
    return output ? output->out + output->err : output.error().message();
  }
  std::string directory_;
  KeyPair ca_ = make_ca("kcube-ca", hours(24)).value();
};

TEST_F(Certificates, IssuedOnesVerifyWithOpenssl) {
  auto pair = issue(ca_, {.common_name = "system:node:a",
                          .organizations = {"system:nodes", "x"},
                          .dns_names = {"a", "a.b"},
                          .ip_addresses = {"10.0.0.1", "fd00::1"},
                          .server = true,
                          .client = true});
  ASSERT_TRUE(pair);
  auto ca = save("ca.pem", ca_.certificate_pem), leaf = save("leaf.pem", pair->certificate_pem);
  EXPECT_NE(openssl({"verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, leaf}).find("OK"),
            std::string::npos)
      << openssl({"verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, leaf});
  EXPECT_NE(openssl({"verify", "-purpose", "sslclient", "-CAfile", ca, leaf}).find("OK"), std::string::npos);
  auto parsed = parse_certificate(pair->certificate_pem);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->common_name, "system:node:a");
  EXPECT_EQ(parsed->organizations, (std::vector<std::string>{"system:nodes", "x"}));
  EXPECT_EQ(parsed->dns_names, (std::vector<std::string>{"a", "a.b"}));
  EXPECT_EQ(parsed->ip_addresses, (std::vector<std::string>{"10.0.0.1", "fd00::1"}));
  EXPECT_LT(parsed->not_before, std::chrono::system_clock::now());
  EXPECT_LE(parsed->not_after, parse_certificate(ca_.certificate_pem)->not_after);
}

TEST_F(Certificates, CsrKeepsSubjectAndNamesButNotTheWishToBeAnAuthority) {
  auto key = make_key().value();
  auto csr = make_csr(key, {.common_name = "bob", .organizations = {"dev"}, .dns_names = {"a,DNS:evil"}});
  ASSERT_TRUE(csr);
  auto parsed = parse_csr(*csr);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->common_name, "bob");
  EXPECT_EQ(parsed->dns_names, (std::vector<std::string>{"a,DNS:evil"}));
  auto certificate = sign_csr(ca_, *csr, {"client auth", "digital signature"}, hours(1));
  ASSERT_TRUE(certificate);
  auto ca = save("ca.pem", ca_.certificate_pem), leaf = save("leaf.pem", *certificate);
  EXPECT_NE(openssl({"verify", "-purpose", "sslclient", "-CAfile", ca, leaf}).find("OK"), std::string::npos);
  EXPECT_EQ(openssl({"verify", "-purpose", "sslserver", "-CAfile", ca, leaf}).find(": OK"), std::string::npos);

  auto key_file = save("k.pem", key);
  auto wishful =
      openssl({"req", "-new", "-key", key_file, "-subj", "/CN=ca", "-addext", "basicConstraints=critical,CA:TRUE"});
  auto refused_wish = sign_csr(ca_, wishful, {"client auth"}, hours(1));
  ASSERT_TRUE(refused_wish);
  EXPECT_NE(openssl({"x509", "-noout", "-text", "-in", save("w.pem", *refused_wish)}).find("CA:FALSE"),
            std::string::npos);
}

TEST_F(Certificates, MalformedInputIsBadRequest) {
  auto csr = make_csr(make_key().value(), {.common_name = "bob"}).value();
  for (std::string text :
       {std::string(), std::string("x"), csr.substr(0, csr.size() / 2), ca_.certificate_pem,
        std::string("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")}) {
    auto parsed = parse_csr(text);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code(), 400);
  }
  EXPECT_EQ(parse_certificate(csr).error().code(), 400);
  EXPECT_EQ(sign_csr(ca_, csr, {"fly"}, hours(1)).error().code(), 400);
  EXPECT_FALSE(issue(ca_, {.common_name = "x", .ip_addresses = {"300.1.1.1"}}));
}

TEST_F(Certificates, HashIsTheDigestOfTheDer) {
  auto output = openssl({"x509", "-noout", "-fingerprint", "-sha256", "-in", save("ca.pem", ca_.certificate_pem)});
  std::string digits;
  for (char c : output.substr(output.find('=') + 1))
    if (c != ':' && c != '\n') digits.push_back(static_cast<char>(::tolower(c)));
  EXPECT_EQ(certificate_hash(ca_.certificate_pem).value(), digits);
}

TEST_F(Certificates, TellWhyAPairIsOfNoUse) {
  auto other = make_key();
  ASSERT_TRUE(other);
  EXPECT_EQ(key_pair_problem(ca_.certificate_pem, ca_.key_pem), "");
  EXPECT_EQ(key_pair_problem("x", "y"), "tls: failed to find any PEM data in certificate input");
  EXPECT_EQ(key_pair_problem(ca_.certificate_pem, "y"), "tls: failed to find any PEM data in key input");
  EXPECT_EQ(key_pair_problem(ca_.certificate_pem, *other), "tls: private key does not match public key");
  EXPECT_EQ(key_pair_problem(ca_.key_pem, ca_.certificate_pem), "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched");
}

TEST(JoinToken, RoundTripsAndRefuses) {
  std::string text = "K10" + std::string(64, 'a') + "::abcdef:0123456789abcdef";
  auto token = JoinToken::parse(text);
  ASSERT_TRUE(token);
  EXPECT_EQ(token->id, "abcdef");
  EXPECT_EQ(token->to_string(), text);
  EXPECT_EQ(JoinToken::parse("abcdef.0123456789abcdef")->to_string(), "abcdef.0123456789abcdef");
  for (std::string bad : {"", "K10", "K10abc::a:b", "abc", "a.", ".b", "a.b c"})
    EXPECT_FALSE(JoinToken::parse(bad)) << bad;
}

TEST(Digest, KnownAnswers) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hmac_sha256("Jefe", "what do ya want for nothing?").substr(0, 4), "\x5b\xdc\xc1\x46");
  EXPECT_TRUE(constant_time_equal("ab", "ab"));
  EXPECT_FALSE(constant_time_equal("ab", "abc"));
}

}  // namespace
}  // namespace kcube::auth
