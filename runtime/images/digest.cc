#include "runtime/images/digest.h"

#include <openssl/evp.h>

#include <algorithm>

#include "pkg/base/strings.h"

namespace kcube::runtime::images {
namespace {
constexpr std::string_view kPrefix = "sha256:";
}

struct Sha256::Impl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~Impl() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  KCUBE_CHECK(EVP_DigestInit_ex(impl_->context, EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
  KCUBE_CHECK(EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  KCUBE_CHECK(EVP_DigestFinal_ex(impl_->context, digest, &size) == 1);
  return std::string(kPrefix) + to_hex({reinterpret_cast<char*>(digest), size});
}

std::string digest_of(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

bool is_hex(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool valid_digest(std::string_view digest) {
  return digest.size() == kPrefix.size() + 64 && digest.starts_with(kPrefix) && is_hex(digest.substr(kPrefix.size()));
}

Result<void> check_digest(std::string_view digest, std::string_view what) {
  if (valid_digest(digest)) return {};
  return fail(Status::bad_request(std::string(what) + " has the digest \"" + std::string(digest.substr(0, 100)) +
                                  "\"; only sha256: with 64 hex digits is understood"));
}

}  // namespace kcube::runtime::images
