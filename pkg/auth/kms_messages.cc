#include "pkg/auth/kms_messages.h"

#include <functional>

#include "pkg/auth/auth.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

constexpr size_t kMostId = 1024, kMostSource = 1024, kMostAnnotations = 32 * 1024, kSeed = 32, kInfo = 32;

std::unexpected<Status> wrong(const std::string& why) { return fail(Status::internal(why)); }

// --- Protobuf: strings and bytes by number, one map, one enumeration.

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put(std::string& out, uint64_t field, std::string_view bytes) {
  if (bytes.empty()) return;
  put_varint(out, field << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

void put(std::string& out, uint64_t field, const KmsAnnotations& annotations) {
  for (const auto& [key, value] : annotations) {
    std::string entry;
    put(entry, 1, key);
    put(entry, 2, value);
    put_varint(out, field << 3 | 2);
    put_varint(out, entry.size());
    out += entry;
  }
}

bool take_varint(std::string_view& in, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool take_bytes(std::string_view& in, size_t size, std::string_view& bytes) {
  if (in.size() < size) return false;
  bytes = in.substr(0, size);
  in.remove_prefix(size);
  return true;
}

// Calls `field` for each; numbers come as `number`, everything else as `bytes`. False when it is no message.
bool read(std::string_view in, const std::function<bool(uint64_t field, uint64_t number, std::string_view bytes)>& field) {
  while (!in.empty()) {
    uint64_t tag = 0, number = 0;
    std::string_view bytes;
    if (!take_varint(in, tag) || tag >> 3 == 0) return false;
    switch (tag & 7) {
      case 0:
        if (!take_varint(in, number)) return false;
        break;
      case 1:
        if (!take_bytes(in, 8, bytes)) return false;
        break;
      case 2:
        if (!take_varint(in, number) || !take_bytes(in, number, bytes)) return false;
        break;
      case 5:
        if (!take_bytes(in, 4, bytes)) return false;
        break;
      default: return false;
    }
    if (!field(tag >> 3, number, bytes)) return false;
  }
  return true;
}

bool read_annotation(std::string_view entry, KmsAnnotations& annotations) {
  std::string key, value;
  bool ok = read(entry, [&](uint64_t field, uint64_t, std::string_view bytes) {
    if (field == 1) key = bytes;
    if (field == 2) value = bytes;
    return true;
  });
  if (ok) annotations[key] = std::move(value);
  return ok;
}

bool is_domain(std::string_view name) {
  auto labels = split(name.ends_with('.') ? name.substr(0, name.size() - 1) : name, '.');
  if (labels.size() < 2 || name.size() > 253) return false;
  for (std::string_view label : labels) {
    auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    if (label.empty() || label.size() > 63 || !plain(label.front()) || !plain(label.back())) return false;
    for (char c : label)
      if (!plain(c) && c != '-') return false;
  }
  return true;
}

// Of a seed: a key for every value, so that none is used too often. Source: RFC 5869, whose expansion of one block this is.
class Seed final : public Sealer {
 public:
  explicit Seed(std::string seed) : seed_(std::move(seed)) {}
  const std::string& prefix() const override { return none_; }
  Result<std::string> seal(std::string_view text, std::string_view path) const override {
    std::string info = random_bytes(kInfo);
    auto sealed = key(info)->seal(text, path);
    if (!sealed) return sealed;
    return info + *sealed;
  }
  Result<std::string> open(std::string_view sealed, std::string_view path) const override {
    if (sealed.size() < kInfo) return wrong("the stored data was shorter than the required size");
    return key(sealed.substr(0, kInfo))->open(sealed.substr(kInfo), path);
  }

 private:
  std::shared_ptr<const Sealer> key(std::string_view info) const { return *make_sealer("aesgcm", "", hmac_sha256(seed_, std::string(info) + '\x01')); }
  const std::string seed_, none_;
};

}  // namespace

std::string kms_encrypt_request(std::string_view plaintext, std::string_view uid) {
  std::string out;
  put(out, 1, plaintext);
  put(out, 2, uid);
  return out;
}

std::string kms_decrypt_request(const KmsSealed& sealed, std::string_view uid) {
  std::string out;
  put(out, 1, sealed.source);
  put(out, 2, uid);
  put(out, 3, sealed.key_id);
  put(out, 4, sealed.annotations);
  return out;
}

Result<KmsStatus> parse_kms_status(std::string_view message) {
  KmsStatus out;
  bool ok = read(message, [&](uint64_t field, uint64_t, std::string_view bytes) {
    if (field == 1) out.version = bytes;
    if (field == 2) out.health = bytes;
    if (field == 3) out.key_id = bytes;
    return true;
  });
  if (!ok) return wrong("the plugin's StatusResponse cannot be read");
  return out;
}

Result<KmsEncrypted> parse_kms_encrypted(std::string_view message) {
  KmsEncrypted out;
  bool ok = read(message, [&](uint64_t field, uint64_t, std::string_view bytes) {
    if (field == 1) out.ciphertext = bytes;
    if (field == 2) out.key_id = bytes;
    return field != 3 || read_annotation(bytes, out.annotations);
  });
  if (!ok) return wrong("the plugin's EncryptResponse cannot be read");
  return out;
}

Result<std::string> parse_kms_decrypted(std::string_view message) {
  std::string out;
  bool ok = read(message, [&](uint64_t field, uint64_t, std::string_view bytes) {
    if (field == 1) out = bytes;
    return true;
  });
  if (!ok) return wrong("the plugin's DecryptResponse cannot be read");
  return out;
}

std::string to_bytes(const KmsSealed& sealed) {
  std::string out;
  put(out, 1, sealed.data);
  put(out, 2, sealed.key_id);
  put(out, 3, sealed.source);
  put(out, 4, sealed.annotations);
  if (sealed.source_type != 0) {
    put_varint(out, 5 << 3);
    put_varint(out, sealed.source_type);
  }
  return out;
}

Result<KmsSealed> parse_kms_sealed(std::string_view bytes) {
  KmsSealed out;
  bool ok = read(bytes, [&](uint64_t field, uint64_t number, std::string_view value) {
    if (field == 1) out.data = value;
    if (field == 2) out.key_id = value;
    if (field == 3) out.source = value;
    if (field == 5) out.source_type = number;
    return field != 4 || read_annotation(value, out.annotations);
  });
  if (!ok) return wrong("the stored EncryptedObject cannot be read");
  if (out.data.empty()) return wrong("encrypted data is empty");
  if (out.source_type > kKmsSeed) return wrong("unknown encryptedDEKSourceType: " + std::to_string(out.source_type));
  if (auto done = check_kms_source(out.source); !done) return fail(done.error());
  if (auto done = check_kms_key_id(out.key_id); !done) return fail(done.error());
  if (auto done = check_kms_annotations(out.annotations); !done) return fail(done.error());
  return out;
}

Result<void> check_kms_key_id(std::string_view key_id) {
  if (key_id.empty()) return wrong("keyID is empty");
  if (key_id.size() > kMostId) return wrong("keyID is " + std::to_string(key_id.size()) + " bytes, which exceeds the max size of " + std::to_string(kMostId));
  return {};
}

Result<void> check_kms_source(std::string_view source) {
  if (source.empty()) return wrong("encrypted DEK source is empty");
  if (source.size() > kMostSource) return wrong("encrypted DEK source is " + std::to_string(source.size()) + " bytes, which exceeds the max size of " + std::to_string(kMostSource));
  return {};
}

Result<void> check_kms_annotations(const KmsAnnotations& annotations) {
  size_t total = 0;
  for (const auto& [key, value] : annotations) {
    if (!is_domain(key)) return wrong("annotations: Invalid value: \"" + key + "\": should be a domain with at least two segments separated by dots");
    total += key.size() + value.size();
  }
  if (total > kMostAnnotations) return wrong("total size of annotations is " + std::to_string(total) + ", which exceeds the max size of " + std::to_string(kMostAnnotations));
  return {};
}

Result<std::shared_ptr<const Sealer>> make_kms_sealer(uint64_t source_type, std::string source) {
  if (source_type == kKmsKey) return make_sealer("aesgcm", "", source);
  if (source.size() != kSeed) return wrong("invalid seed length " + std::to_string(source.size()) + " used for key generation");
  return std::make_shared<const Seed>(std::move(source));
}

}  // namespace kcube::auth
