#include "pkg/dns/cache.h"

#include <algorithm>

namespace kcube::dns {
namespace {

constexpr uint32_t kMaxTtl = 3600, kMaxNegativeTtl = 300;

// RFC 2308: a denial lives as long as the zone's record of authority says.
uint32_t lifetime(const Message& m) {
  if (m.code != rcode::kNoError && m.code != rcode::kNxDomain) return 0;
  bool negative = m.code == rcode::kNxDomain || m.answers.empty();
  uint32_t ttl = negative ? kMaxNegativeTtl : kMaxTtl;
  bool said = !negative;
  for (const Record& r : m.answers) ttl = std::min(ttl, r.ttl);
  for (const Record& r : m.authorities) {
    ttl = std::min(ttl, r.ttl);
    if (!negative || r.type != type::kSoa || r.data.size() < 4) continue;
    uint32_t minimum = 0;
    for (char c : r.data.substr(r.data.size() - 4)) minimum = minimum << 8 | static_cast<uint8_t>(c);
    ttl = std::min(ttl, minimum);
    said = true;
  }
  return said ? ttl : 0;
}

}  // namespace

std::string cache_key(const Question& q, bool dnssec_ok) {
  return lower(q.name) + u16_bytes(q.type) + u16_bytes(q.klass) + (dnssec_ok ? "d" : "-");
}

void Cache::drop(std::list<Entry>::iterator it) {
  bytes_ -= it->bytes;
  by_key_.erase(it->key);
  entries_.erase(it);
}

void Cache::put(const std::string& key, MessagePtr message, size_t bytes) {
  if (auto old = by_key_.find(key); old != by_key_.end()) drop(old->second);
  uint32_t seconds = lifetime(*message);
  if (seconds == 0 || message->truncated || bytes > max_bytes_) return;
  SteadyTime now = clock_.steady_now();
  entries_.push_front({key, std::move(message), bytes, now, now + std::chrono::seconds(seconds)});
  by_key_[key] = entries_.begin();
  bytes_ += bytes;
  while (entries_.size() > max_entries_ || bytes_ > max_bytes_) drop(std::prev(entries_.end()));
}

MessagePtr Cache::get(const std::string& key) {
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return nullptr;
  SteadyTime now = clock_.steady_now();
  if (now >= it->second->until) {
    drop(it->second);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, it->second);
  auto age = static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(now - it->second->from).count());
  if (age == 0) return it->second->message;
  auto aged = std::make_shared<Message>(*it->second->message);
  for (auto* section : {&aged->answers, &aged->authorities, &aged->additionals})
    for (Record& r : *section) r.ttl -= std::min(r.ttl, age);
  return aged;
}

}  // namespace kcube::dns
