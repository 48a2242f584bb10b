// Answers of other servers for as long as they say, the least recently used forgotten first. One thread.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "pkg/base/clock.h"
#include "pkg/dns/message.h"

namespace kcube::dns {

using MessagePtr = std::shared_ptr<const Message>;

// Name in lower case, type, class and whether DNSSEC records are wanted.
std::string cache_key(const Question& question, bool dnssec_ok);

class Cache {
 public:
  Cache(Clock& clock, size_t max_entries, size_t max_bytes)
      : clock_(clock), max_entries_(max_entries), max_bytes_(max_bytes) {}
  // Keeps an answer or a denial; others (failures, TTL 0, denials that do not say for how long) are not kept.
  void put(const std::string& key, MessagePtr message, size_t bytes);
  // With times to live reduced by the entry's age; null when unknown or too old.
  MessagePtr get(const std::string& key);
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    MessagePtr message;
    size_t bytes;
    SteadyTime from, until;
  };
  void drop(std::list<Entry>::iterator it);
  Clock& clock_;
  const size_t max_entries_, max_bytes_;
  size_t bytes_ = 0;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace kcube::dns
