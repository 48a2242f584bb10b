#include "pkg/store/encrypted_store.h"

#include "pkg/base/log.h"

namespace kcube::store {
namespace {

constexpr std::string_view kSealed = "k8s:enc:";

const EncryptionRule* find_rule(const EncryptionRules& rules, std::string_view key) {
  for (const EncryptionRule& rule : rules)
    if (key.starts_with(rule.prefix)) return &rule;
  return nullptr;
}

}  // namespace

bool is_sealed(std::string_view value) { return value.starts_with(kSealed); }

EncryptedStore::EncryptedStore(std::unique_ptr<Store> inner, EncryptionRules rules)
    : inner_(std::move(inner)), rules_(std::make_shared<const EncryptionRules>(std::move(rules))) {}

void EncryptedStore::set_rules(EncryptionRules rules) {
  auto next = std::make_shared<const EncryptionRules>(std::move(rules));
  std::lock_guard lock(mutex_);
  rules_ = std::move(next);
}

std::shared_ptr<const EncryptionRules> EncryptedStore::rules() const {
  std::lock_guard lock(mutex_);
  return rules_;
}

Result<void> EncryptedStore::seal(Write& write) const {
  if (!write.value) return {};
  auto current = rules();
  const EncryptionRule* rule = find_rule(*current, write.key);
  if (rule == nullptr || rule->sealers.front()->prefix().empty()) return {};
  const auth::Sealer& sealer = *rule->sealers.front();
  auto sealed = sealer.seal(*write.value, write.key);
  if (!sealed) return fail(sealed.error());
  write.value = std::make_shared<const std::string>(sealer.prefix() + *sealed);
  return {};
}

Result<EncryptedStore::Value> EncryptedStore::open(const Value& value, std::string_view key) const {
  if (!value) return value;
  auto current = rules();
  const EncryptionRule* rule = find_rule(*current, key);
  bool sealed = is_sealed(*value);
  if (rule == nullptr && !sealed) return value;
  if (rule != nullptr) {
    for (const auto& sealer : rule->sealers) {
      // The text of identity is anything that no other sealer wrote.
      if (sealer->prefix().empty() ? sealed : !value->starts_with(sealer->prefix())) continue;
      if (sealer->prefix().empty()) return value;
      auto text = sealer->open(std::string_view(*value).substr(sealer->prefix().size()), key);
      if (!text) return fail(text.error().with_context(std::string(key)));
      return std::make_shared<const std::string>(std::move(*text));
    }
  }
  return fail(Status::internal(std::string(key) + " is stored " + (sealed ? "under a key" : "in plain text") + " that no provider of --encryption-provider-config has: no matching prefix found"));
}

Result<void> EncryptedStore::open(Change& change) const {
  auto value = open(change.value, change.key);
  if (!value) return fail(value.error());
  bool same = change.previous_value == change.value;
  change.value = *value;
  if (same) {
    change.previous_value = change.value;
    return {};
  }
  auto previous = open(change.previous_value, change.key);
  if (!previous) return fail(previous.error());
  change.previous_value = std::move(*previous);
  return {};
}

Result<uint64_t> EncryptedStore::commit(Write write) {
  if (auto done = seal(write); !done) return fail(done.error());
  return inner_->commit(std::move(write));
}

Result<uint64_t> EncryptedStore::commit_all(std::vector<Write> writes) {
  for (Write& write : writes)
    if (auto done = seal(write); !done) return fail(done.error());
  return inner_->commit_all(std::move(writes));
}

Result<RangeResult> EncryptedStore::range(std::string_view prefix, std::string_view start, size_t limit, uint64_t revision) {
  auto found = inner_->range(prefix, start, limit, revision);
  if (!found) return found;
  for (KeyValue& item : found->items) {
    auto text = open(item.value, item.key);
    if (!text) return fail(text.error());
    item.value = std::move(*text);
  }
  return found;
}

Result<void> EncryptedStore::follow(uint64_t after, std::function<void(const std::vector<Change>&)> sink) {
  return inner_->follow(after, [this, sink = std::move(sink)](const std::vector<Change>& changes) {
    std::vector<Change> plain = changes;
    for (Change& change : plain) {
      if (auto opened = open(change); opened) continue;
      else log::error("store", "a value cannot be read", {{"error", opened.error()}});
      // The last state of what goes, or the state before, under a key that is gone by now: the cache has it.
      if (!change.value || is_sealed(*change.value)) change.value = std::make_shared<const std::string>("{\"metadata\":{\"resourceVersion\":\"\"}}");
      change.previous_value = nullptr;
    }
    sink(plain);
  });
}

Result<std::vector<Change>> EncryptedStore::changes_since(std::string_view prefix, uint64_t after, size_t limit) {
  auto changes = inner_->changes_since(prefix, after, limit);
  if (!changes) return changes;
  for (Change& change : *changes)
    if (auto opened = open(change); !opened) return fail(opened.error());
  return changes;
}

bool EncryptedStore::is_stale(std::string_view key) {
  auto current = rules();
  const EncryptionRule* rule = find_rule(*current, key);
  std::string_view wanted = rule == nullptr ? std::string_view() : std::string_view(rule->sealers.front()->prefix());
  auto stored = inner_->range(key, key, 1, 0);
  if (!stored || stored->items.empty() || stored->items[0].key != key) return false;
  const std::string& value = *stored->items[0].value;
  if (wanted.empty()) return is_sealed(value);
  return !value.starts_with(wanted) || rule->sealers.front()->is_stale(std::string_view(value).substr(wanted.size()));
}

}  // namespace kcube::store
