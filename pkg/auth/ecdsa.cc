// Numbers of keys, and the two forms of ECDSA signatures.
#include <algorithm>

#include "pkg/auth/openssl.h"

namespace kcube::auth {

std::string big_number(EVP_PKEY* key, const char* name, int size) {
  BIGNUM* raw = nullptr;
  EVP_PKEY_get_bn_param(key, name, &raw);
  BigNumber number(raw);
  if (!number) return {};
  std::string bytes(static_cast<size_t>(std::max(size, BN_num_bytes(number.get()))), '\0');
  BN_bn2binpad(number.get(), reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  return bytes;
}

std::string ecdsa_to_plain(const std::string& der, size_t half) {
  const unsigned char* p = bytes_of(der);
  EcdsaSigPtr signature(d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(der.size())));
  if (!signature) return {};
  std::string plain(2 * half, '\0');
  auto* out = reinterpret_cast<unsigned char*>(plain.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out, static_cast<int>(half));
  BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out + half, static_cast<int>(half));
  return plain;
}

std::string ecdsa_from_plain(const std::string& plain, size_t half) {
  if (plain.size() != 2 * half) return {};
  EcdsaSigPtr signature(ECDSA_SIG_new());
  auto number = [&](size_t at) { return BN_bin2bn(bytes_of(plain) + at, static_cast<int>(half), nullptr); };
  ECDSA_SIG_set0(signature.get(), number(0), number(half));
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return {};
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

}  // namespace kcube::auth
