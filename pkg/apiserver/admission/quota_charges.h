// Which namespaces have charges to their quotas whose writes are on their way. A recount of such a namespace cannot see
// what has been charged for yet, and would take the charge back. Thread-safe.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace kcube::apiserver {

class QuotaCharges {
 public:
  // On its way until the returned value is destroyed. `this` lives longer.
  std::shared_ptr<void> begin(const std::string& ns) {
    std::lock_guard lock(mutex_);
    ++namespaces_[ns].under_way;
    return {static_cast<void*>(this), [this, ns](void*) { end(ns); }};
  }
  // Nothing is on its way, nor was just now: informers hear of a write a moment after it.
  bool quiet(const std::string& ns) {
    std::lock_guard lock(mutex_);
    auto it = namespaces_.find(ns);
    if (it == namespaces_.end()) return true;
    if (it->second.under_way > 0 || std::chrono::steady_clock::now() - it->second.ended < kHeard) return false;
    namespaces_.erase(it);
    return true;
  }

 private:
  static constexpr auto kHeard = std::chrono::milliseconds(30);
  static constexpr size_t kMaxKept = 4096;
  struct State {
    int under_way = 0;
    std::chrono::steady_clock::time_point ended;
  };
  void end(const std::string& ns) {
    std::lock_guard lock(mutex_);
    State& state = namespaces_[ns];
    --state.under_way;
    state.ended = std::chrono::steady_clock::now();
    if (namespaces_.size() > kMaxKept) std::erase_if(namespaces_, [](const auto& n) { return n.second.under_way == 0; });
  }

  std::mutex mutex_;
  std::map<std::string, State> namespaces_;
};

}  // namespace kcube::apiserver
