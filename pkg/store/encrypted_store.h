// A store whose values are encrypted on disk: around another store, everything above it sees plain text.
//
// Which keys and how is in EncryptionRules, which may be replaced while it runs (key rotation): the first sealer of a rule
// writes, all of them read. Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/auth/encryption.h"
#include "pkg/store/store.h"

namespace kcube::store {

struct EncryptionRule {
  std::string prefix;                                          // of keys: "/registry/secrets/"
  std::vector<std::shared_ptr<const auth::Sealer>> sealers;    // never empty
};
// The first rule whose prefix fits holds; keys of none are as they are.
using EncryptionRules = std::vector<EncryptionRule>;

class EncryptedStore final : public Store {
 public:
  EncryptedStore(std::unique_ptr<Store> inner, EncryptionRules rules);
  void set_rules(EncryptionRules rules);

  Result<uint64_t> commit(Write write) override;
  Result<uint64_t> commit_all(std::vector<Write> writes) override;
  Result<RangeResult> range(std::string_view prefix, std::string_view start, size_t limit, uint64_t revision) override;
  Result<void> follow(uint64_t after, std::function<void(const std::vector<Change>&)> sink) override;
  Result<std::vector<Change>> changes_since(std::string_view prefix, uint64_t after, size_t limit) override;
  uint64_t revision() const override { return inner_->revision(); }
  uint64_t compacted_revision() const override { return inner_->compacted_revision(); }
  Result<void> compact(uint64_t revision) override { return inner_->compact(revision); }
  uint64_t size_bytes() const override { return inner_->size_bytes(); }
  bool is_stale(std::string_view key) override;

 private:
  using Value = std::shared_ptr<const std::string>;
  std::shared_ptr<const EncryptionRules> rules() const;
  Result<void> seal(Write& write) const;
  Result<Value> open(const Value& value, std::string_view key) const;
  Result<void> open(Change& change) const;

  const std::unique_ptr<Store> inner_;
  mutable std::mutex mutex_;
  std::shared_ptr<const EncryptionRules> rules_;
};

// True when a value was written by some sealer.
bool is_sealed(std::string_view value);

}  // namespace kcube::store
