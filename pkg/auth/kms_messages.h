// What a KMS plugin (API v2) is asked and answers, and what stands in the database behind "k8s:enc:kms:v2:NAME:", as
// protobuf; and the keys that values are sealed with. Pure. Source: k8s.io/kms apis/v2; KEP-3299.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "pkg/auth/encryption.h"

namespace kcube::auth {

using KmsAnnotations = std::map<std::string, std::string>;

struct KmsStatus {
  std::string version, health, key_id;
};
struct KmsEncrypted {
  std::string ciphertext, key_id;
  KmsAnnotations annotations;
};
// A value in the database: what it was sealed with, sealed by the plugin, beside it.
struct KmsSealed {
  std::string data, key_id, source;              // source: of the key, encrypted
  KmsAnnotations annotations;
  uint64_t source_type = 0;
};
inline constexpr uint64_t kKmsKey = 0, kKmsSeed = 1;   // the source is an AES-GCM key itself, or a seed that keys are made of

std::string kms_encrypt_request(std::string_view plaintext, std::string_view uid);
std::string kms_decrypt_request(const KmsSealed& sealed, std::string_view uid);
Result<KmsStatus> parse_kms_status(std::string_view message);
Result<KmsEncrypted> parse_kms_encrypted(std::string_view message);
Result<std::string> parse_kms_decrypted(std::string_view message);

std::string to_bytes(const KmsSealed& sealed);
Result<KmsSealed> parse_kms_sealed(std::string_view bytes);
// Limits of the API: an id and a source of at most 1 KiB, annotations named as domains, 32 KiB of them.
Result<void> check_kms_key_id(std::string_view key_id);
Result<void> check_kms_source(std::string_view source);
Result<void> check_kms_annotations(const KmsAnnotations& annotations);

// Seals with the plain source, without a prefix. Fails when the key's length does not fit its type.
Result<std::shared_ptr<const Sealer>> make_kms_sealer(uint64_t source_type, std::string source);

}  // namespace kcube::auth
