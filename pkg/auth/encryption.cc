#include "pkg/auth/encryption.h"

#include <array>
#include <bit>
#include <cstring>

#include "pkg/auth/openssl.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

constexpr size_t kBlock = 16, kGcmNonce = 12, kTag = 16, kBoxNonce = 24, kBoxKey = 32;

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Freed<EVP_CIPHER_CTX_free>>;
using MacPtr = std::unique_ptr<EVP_MAC, Freed<EVP_MAC_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Freed<EVP_MAC_CTX_free>>;

const unsigned char* in(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* out(std::string& text, size_t at = 0) { return reinterpret_cast<unsigned char*>(text.data()) + at; }

std::unexpected<Status> refused() {
  ERR_clear_error();
  return fail(Status::internal("the value cannot be decrypted with this key"));
}

const EVP_CIPHER* cbc(size_t bytes) { return bytes == 16 ? EVP_aes_128_cbc() : bytes == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc(); }
const EVP_CIPHER* gcm(size_t bytes) { return bytes == 16 ? EVP_aes_128_gcm() : bytes == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm(); }

class Base : public Sealer {
 public:
  Base(std::string prefix, std::string key) : prefix_(std::move(prefix)), key_(std::move(key)) {}
  const std::string& prefix() const override { return prefix_; }

 protected:
  const std::string prefix_, key_;
};

class Identity final : public Base {
 public:
  Identity() : Base("", "") {}
  Result<std::string> seal(std::string_view text, std::string_view) const override { return std::string(text); }
  Result<std::string> open(std::string_view sealed, std::string_view) const override { return std::string(sealed); }
};

class AesCbc final : public Base {
 public:
  using Base::Base;
  Result<std::string> seal(std::string_view text, std::string_view) const override {
    std::string sealed = random_bytes(kBlock);
    sealed.resize(kBlock + text.size() + kBlock);
    CipherContext context(EVP_CIPHER_CTX_new());
    int size = 0, rest = 0;
    EVP_EncryptInit_ex(context.get(), cbc(key_.size()), nullptr, in(key_), in(sealed));
    EVP_EncryptUpdate(context.get(), out(sealed, kBlock), &size, in(text), static_cast<int>(text.size()));
    KCUBE_CHECK(EVP_EncryptFinal_ex(context.get(), out(sealed, kBlock + static_cast<size_t>(size)), &rest) == 1);
    sealed.resize(kBlock + static_cast<size_t>(size + rest));
    return sealed;
  }
  Result<std::string> open(std::string_view sealed, std::string_view) const override {
    if (sealed.size() < 2 * kBlock || sealed.size() % kBlock != 0) return refused();
    std::string text(sealed.size(), '\0');
    CipherContext context(EVP_CIPHER_CTX_new());
    int size = 0, rest = 0;
    EVP_DecryptInit_ex(context.get(), cbc(key_.size()), nullptr, in(key_), in(sealed));
    if (EVP_DecryptUpdate(context.get(), out(text), &size, in(sealed.substr(kBlock)), static_cast<int>(sealed.size() - kBlock)) != 1) return refused();
    if (EVP_DecryptFinal_ex(context.get(), out(text, static_cast<size_t>(size)), &rest) != 1) return refused();
    text.resize(static_cast<size_t>(size + rest));
    return text;
  }
};

class AesGcm final : public Base {
 public:
  using Base::Base;
  Result<std::string> seal(std::string_view text, std::string_view path) const override {
    std::string sealed = random_bytes(kGcmNonce);
    sealed.resize(kGcmNonce + text.size() + kTag);
    CipherContext context(EVP_CIPHER_CTX_new());
    int size = 0;
    EVP_EncryptInit_ex(context.get(), gcm(key_.size()), nullptr, in(key_), in(sealed));
    EVP_EncryptUpdate(context.get(), nullptr, &size, in(path), static_cast<int>(path.size()));
    EVP_EncryptUpdate(context.get(), out(sealed, kGcmNonce), &size, in(text), static_cast<int>(text.size()));
    KCUBE_CHECK(EVP_EncryptFinal_ex(context.get(), out(sealed, kGcmNonce + text.size()), &size) == 1);
    EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTag, out(sealed, kGcmNonce + text.size()));
    return sealed;
  }
  Result<std::string> open(std::string_view sealed, std::string_view path) const override {
    if (sealed.size() < kGcmNonce + kTag) return refused();
    std::string text(sealed.size() - kGcmNonce - kTag, '\0'), tag(sealed.substr(sealed.size() - kTag));
    CipherContext context(EVP_CIPHER_CTX_new());
    int size = 0;
    EVP_DecryptInit_ex(context.get(), gcm(key_.size()), nullptr, in(key_), in(sealed));
    EVP_DecryptUpdate(context.get(), nullptr, &size, in(path), static_cast<int>(path.size()));
    if (EVP_DecryptUpdate(context.get(), out(text), &size, in(sealed.substr(kGcmNonce)), static_cast<int>(text.size())) != 1) return refused();
    EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTag, tag.data());
    unsigned char none[kBlock];
    if (EVP_DecryptFinal_ex(context.get(), none, &size) != 1) return refused();
    return text;
  }
};

// --- XSalsa20 and Poly1305. OpenSSL has the second only. ----------------------------------------------------------------

using Words = std::array<uint32_t, 16>;

uint32_t word(const unsigned char* p) { return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24; }

// Twenty rounds of Salsa over a matrix of key, constants and 16 bytes of input.
Words rounds(Words x) {
  auto quarter = [&x](int a, int b, int c, int d) {
    x[b] ^= std::rotl(x[a] + x[d], 7);
    x[c] ^= std::rotl(x[b] + x[a], 9);
    x[d] ^= std::rotl(x[c] + x[b], 13);
    x[a] ^= std::rotl(x[d] + x[c], 18);
  };
  for (int i = 0; i < 10; ++i) {
    quarter(0, 4, 8, 12), quarter(5, 9, 13, 1), quarter(10, 14, 2, 6), quarter(15, 3, 7, 11);
    quarter(0, 1, 2, 3), quarter(5, 6, 7, 4), quarter(10, 11, 8, 9), quarter(15, 12, 13, 14);
  }
  return x;
}

Words matrix(std::string_view key, const unsigned char* input) {
  const unsigned char *constants = in("expand 32-byte k"), *k = in(key);
  return {word(constants), word(k), word(k + 4), word(k + 8), word(k + 12), word(constants + 4), word(input), word(input + 4),
          word(input + 8), word(input + 12), word(constants + 8), word(k + 16), word(k + 20), word(k + 24), word(k + 28), word(constants + 12)};
}

void put(std::string& to, uint32_t w) {
  for (int i = 0; i < 4; ++i) to += static_cast<char>(w >> (8 * i));
}

// The first `size` bytes of XSalsa20's stream.
std::string key_stream(std::string_view key, std::string_view nonce, size_t size) {
  Words h = rounds(matrix(key, in(nonce)));
  std::string derived;
  for (int i : {0, 5, 10, 15, 6, 7, 8, 9}) put(derived, h[static_cast<size_t>(i)]);
  std::string stream;
  stream.reserve(size + 64);
  for (uint64_t block = 0; stream.size() < size; ++block) {
    unsigned char input[16];
    std::memcpy(input, nonce.data() + 16, 8);
    for (int i = 0; i < 8; ++i) input[8 + i] = static_cast<unsigned char>(block >> (8 * i));
    Words start = matrix(derived, input), mixed = rounds(start);
    for (size_t i = 0; i < 16; ++i) put(stream, start[i] + mixed[i]);
  }
  return stream;
}

std::string poly1305(std::string_view key, std::string_view text) {
  MacPtr mac(EVP_MAC_fetch(nullptr, "POLY1305", nullptr));
  MacContext context(EVP_MAC_CTX_new(mac.get()));
  std::string tag(kTag, '\0');
  size_t size = 0;
  bool ok = EVP_MAC_init(context.get(), in(key), key.size(), nullptr) == 1 && EVP_MAC_update(context.get(), in(text), text.size()) == 1 &&
            EVP_MAC_final(context.get(), out(tag), &size, tag.size()) == 1;
  KCUBE_CHECK(ok);
  return tag;
}

class SecretBox final : public Base {
 public:
  using Base::Base;
  Result<std::string> seal(std::string_view text, std::string_view) const override {
    std::string nonce = random_bytes(kBoxNonce), stream = key_stream(key_, nonce, kBoxKey + text.size()), sealed(text);
    for (size_t i = 0; i < sealed.size(); ++i) sealed[i] = static_cast<char>(sealed[i] ^ stream[kBoxKey + i]);
    return nonce + poly1305(std::string_view(stream).substr(0, kBoxKey), sealed) + sealed;
  }
  Result<std::string> open(std::string_view sealed, std::string_view) const override {
    if (sealed.size() < kBoxNonce + kTag) return refused();
    std::string_view nonce = sealed.substr(0, kBoxNonce), tag = sealed.substr(kBoxNonce, kTag), body = sealed.substr(kBoxNonce + kTag);
    std::string stream = key_stream(key_, nonce, kBoxKey + body.size()), text(body);
    if (!constant_time_equal(poly1305(std::string_view(stream).substr(0, kBoxKey), body), tag)) return refused();
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(text[i] ^ stream[kBoxKey + i]);
    return text;
  }
};

}  // namespace

Result<std::shared_ptr<const Sealer>> make_sealer(const std::string& provider, const std::string& name, const std::string& key) {
  std::string prefix = "k8s:enc:" + provider + ":v1:" + name + ":";
  bool aes = key.size() == 16 || key.size() == 24 || key.size() == 32;
  if (provider == "identity") return std::make_shared<const Identity>();
  if (provider == "aescbc" && aes) return std::make_shared<const AesCbc>(prefix, key);
  if (provider == "aesgcm" && aes) return std::make_shared<const AesGcm>(prefix, key);
  if (provider == "secretbox" && key.size() == kBoxKey) return std::make_shared<const SecretBox>(prefix, key);
  std::string expected = provider == "secretbox" ? "[32]" : "[16 24 32]";
  return fail(Status::bad_request("secret is not of the expected length, got " + std::to_string(key.size()) + ", expected one of " + expected));
}

}  // namespace kcube::auth
