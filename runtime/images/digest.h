// SHA-256 digests in OCI's notation, "sha256:" and 64 lower-case hex digits. Thread-safe but for Sha256 objects.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "pkg/base/status.h"

namespace kcube::runtime::images {

// Hashes a stream piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::string_view bytes);
  // "sha256:…"; the object must not be used afterwards.
  std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string digest_of(std::string_view bytes);
bool is_hex(std::string_view text);
bool valid_digest(std::string_view digest);
// The part behind "sha256:".
inline std::string hex_of(std::string_view digest) { return std::string(digest.substr(digest.find(':') + 1)); }
// 400 that says which kind of digest `what` has, unless it is valid.
Result<void> check_digest(std::string_view digest, std::string_view what);

}  // namespace kcube::runtime::images
