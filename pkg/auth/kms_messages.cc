#include "pkg/auth/kms_messages.h"

#include <functional>

#include "pkg/auth/auth.h"
#include "pkg/base/protobuf_wire.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

constexpr size_t kMostId = 1024, kMostSource = 1024, kMostAnnotations = 32 * 1024, kSeed = 32, kInfo = 32;

std::unexpected<Status> wrong(const std::string& why) { return fail(Status::internal(why)); }

// What is empty is left out.
void put(std::string& out, uint64_t field, std::string_view bytes) {
  if (!bytes.empty()) protobuf::put_bytes(out, field, bytes);
}

void put(std::string& out, uint64_t field, const KmsAnnotations& annotations) {
  for (const auto& [key, value] : annotations) {
    std::string entry;
    put(entry, 1, key);
    put(entry, 2, value);
    protobuf::put_bytes(out, field, entry);
  }
}

// Calls `visit` for each field, until it says false. False then, and when it is no message.
bool read(std::string_view message, const std::function<bool(const protobuf::Field&)>& visit) {
  protobuf::Reader reader(message);
  protobuf::Field field;
  while (reader.next(field))
    if (!visit(field)) return false;
  return reader.ok();
}

bool read_annotation(std::string_view entry, KmsAnnotations& annotations) {
  std::string key, value;
  bool ok = read(entry, [&](const protobuf::Field& field) {
    if (field.number == 1) key = field.bytes;
    if (field.number == 2) value = field.bytes;
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
  bool ok = read(message, [&](const protobuf::Field& field) {
    if (field.number == 1) out.version = field.bytes;
    if (field.number == 2) out.health = field.bytes;
    if (field.number == 3) out.key_id = field.bytes;
    return true;
  });
  if (!ok) return wrong("the plugin's StatusResponse cannot be read");
  return out;
}

Result<KmsEncrypted> parse_kms_encrypted(std::string_view message) {
  KmsEncrypted out;
  bool ok = read(message, [&](const protobuf::Field& field) {
    if (field.number == 1) out.ciphertext = field.bytes;
    if (field.number == 2) out.key_id = field.bytes;
    return field.number != 3 || read_annotation(field.bytes, out.annotations);
  });
  if (!ok) return wrong("the plugin's EncryptResponse cannot be read");
  return out;
}

Result<std::string> parse_kms_decrypted(std::string_view message) {
  std::string out;
  bool ok = read(message, [&](const protobuf::Field& field) {
    if (field.number == 1) out = field.bytes;
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
  if (sealed.source_type != 0) protobuf::put_number(out, 5, sealed.source_type);
  return out;
}

Result<KmsSealed> parse_kms_sealed(std::string_view bytes) {
  KmsSealed out;
  bool ok = read(bytes, [&](const protobuf::Field& field) {
    if (field.number == 1) out.data = field.bytes;
    if (field.number == 2) out.key_id = field.bytes;
    if (field.number == 3) out.source = field.bytes;
    if (field.number == 5) out.source_type = field.value;
    return field.number != 4 || read_annotation(field.bytes, out.annotations);
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
