#include "pkg/auth/encryption.h"

#include <gtest/gtest.h>

#include "pkg/auth/kms_messages.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

const std::string kKey(32, 'k');

std::shared_ptr<const Sealer> sealer(const std::string& provider, const std::string& key = kKey) { return *make_sealer(provider, "key1", key); }

TEST(Sealer, OpensWhatItSealed) {
  for (const char* provider : {"aescbc", "aesgcm", "secretbox", "identity"}) {
    auto s = sealer(provider);
    for (const std::string& text : {std::string(), std::string("a"), std::string(15, 'x'), std::string(16, 'x'), std::string(70000, 'y')}) {
      auto opened = s->open(*s->seal(text, "/registry/secrets/a/b"), "/registry/secrets/a/b");
      ASSERT_TRUE(opened) << provider;
      EXPECT_EQ(*opened, text) << provider;
    }
  }
}

TEST(Sealer, NamesProviderAndKeyBeforeValues) {
  EXPECT_EQ(sealer("aesgcm")->prefix(), "k8s:enc:aesgcm:v1:key1:");
  EXPECT_EQ(sealer("identity")->prefix(), "");
}

TEST(Sealer, RefusesAnotherPathWithAuthenticatedData) {
  auto s = sealer("aesgcm");
  EXPECT_FALSE(s->open(*s->seal("text", "/registry/secrets/a/b"), "/registry/secrets/a/c"));
}

TEST(Sealer, RefusesWhatWasChangedOrCutOrIsOfAnotherKey) {
  for (const char* provider : {"aesgcm", "secretbox"}) {
    auto s = sealer(provider), other = sealer(provider, std::string(32, 'o'));
    std::string sealed = *s->seal("some text", "/p");
    EXPECT_FALSE(other->open(sealed, "/p"));
    for (size_t i = 0; i < sealed.size(); ++i) {
      std::string changed = sealed;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      EXPECT_FALSE(s->open(changed, "/p")) << provider << " byte " << i;
      EXPECT_FALSE(s->open(sealed.substr(0, i), "/p"));
    }
  }
}

TEST(Sealer, ChecksKeyLengths) {
  EXPECT_FALSE(make_sealer("aesgcm", "k", "short"));
  EXPECT_FALSE(make_sealer("secretbox", "k", std::string(16, 'k')));
  EXPECT_TRUE(make_sealer("aescbc", "k", std::string(16, 'k')));
}

std::string bytes(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}

// The example of "Cryptography in NaCl", section 10.
TEST(Sealer, SecretboxIsThatOfNaCl) {
  std::string key = bytes("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
  std::string nonce = bytes("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
  std::string tag = bytes("f3ffc7703f9400e52a7dfb4b3d3305d9"), body = bytes("8e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5");
  auto opened = sealer("secretbox", key)->open(nonce + tag + body, "");
  ASSERT_TRUE(opened);
  EXPECT_EQ(to_hex(opened->substr(0, 16)), "be075fc53c81f2d5cf141316ebeb0c7b");
  EXPECT_EQ(opened->size(), 131U);
}

// Written by kube-apiserver 1.36.3 with a plugin whose sealing is base64.
TEST(KmsSealer, ReadsWhatKubeApiserverWrote) {
  const std::string stored = *base64_decode("azhzOmVuYzprbXM6djI6Z286Co4CKAoUssD1VunVD7djhmFMElni5qkrhyR1FkoPA63rYTy3dMRgza8vZ4wyZLlqG/e56ebfoBJDiYNVSOY4Uwciwq05c8VF465e4wLVyl0mp8jsmgw9VD0CUdk6y0"
                             "2N3cc3BJrxYeXsd4I6u6AMAAOtWIkSA0K+RvF4ibSfB0oIkHcEIWlXuoHBoSRZDtQ3IAIyV6OAZdtrUyf4B2cPpAB/Vaorqp4hv8zCNyFjDGu2CFPHUmvhR+E++G+wvhnDJ24EPt2Uewr2aeqdJI+u"
                             "nj7HoBfvwxUN/spCrgW4PwNft6tyeYdpTlXJh0bsR61uOz5/Wmf3YLA2ANll8zIadvggIUPRct6tLrKPYD7SyfTkEgVrZXktMhosUWpFYnJaSkMzd3ZJWkl1bnlET0g4WW42dFlYN0Q4MlNQSGRLY1"
                             "VNY1lNYz0iFQoQbm90ZS5leGFtcGxlLmNvbRIBeCgB");
  const std::string prefix = "k8s:enc:kms:v2:go:";
  ASSERT_TRUE(stored.starts_with(prefix));
  auto sealed = parse_kms_sealed(std::string_view(stored).substr(prefix.size()));
  ASSERT_TRUE(sealed) << sealed.error().message();
  EXPECT_EQ(sealed->source_type, kKmsSeed);
  EXPECT_EQ(sealed->annotations.at("note.example.com"), "x");
  auto sealer = make_kms_sealer(sealed->source_type, *base64_decode(sealed->source));
  ASSERT_TRUE(sealer) << sealer.error().message();
  auto text = (*sealer)->open(sealed->data, "/registry/secrets/default/s");
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_NE(text->find("unmistakable"), std::string::npos);
  EXPECT_FALSE((*sealer)->open(sealed->data, "/registry/secrets/default/other"));
  EXPECT_EQ(to_bytes(*sealed), stored.substr(prefix.size()));
}

}  // namespace
}  // namespace kcube::auth
