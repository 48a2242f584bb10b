// What becomes of an event that somebody records: a new one, a repeat of one before, or nothing.
//
// As client-go does: repeats within the memory raise a count; more than ten events that differ in their message alone
// within ten minutes are combined into one; and an object that makes more than 25 events gets one every five minutes.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "pkg/base/clock.h"

namespace kcube::client {

class EventCorrelator {
 public:
  struct Verdict {
    bool dropped = false;
    std::string key;       // equal for what is the same event said again
    std::string message;   // maybe combined from similar ones
  };
  // `source`: who speaks about which object; `about`: what else but the message tells events apart.
  Verdict judge(const std::string& source, const std::string& about, std::string_view message, SteadyTime now);

 private:
  struct Similar {
    std::set<std::string, std::less<>> messages;
    SteadyTime last{};
  };
  struct Bucket {
    double tokens = 0;
    SteadyTime last{};
  };
  bool spam(const std::string& source, SteadyTime now);

  // Bounded: the oldest is forgotten when too much is remembered.
  template <typename T>
  struct Memory {
    std::list<std::pair<std::string, T>> items;
    std::unordered_map<std::string, typename std::list<std::pair<std::string, T>>::iterator> index;
    T& at(const std::string& key, bool& fresh);
  };
  Memory<Similar> similar_;
  Memory<Bucket> buckets_;
};

}  // namespace kcube::client
