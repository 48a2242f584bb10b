// What is made of some configuration in the watch cache, made again when that has changed: webhooks, policies, exemptions.
//
// Thread-safe. With nothing configured get() is two atomic loads. The value is immutable; who holds it keeps it.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "pkg/apiserver/cache.h"

namespace kcube::apiserver {

template <typename T>
class Compiled {
 public:
  // `make` returns null when nothing is configured; it may be called by any thread, one at a time.
  using Make = std::function<std::shared_ptr<const T>()>;
  Compiled(std::vector<const ResourceCache*> sources, Make make) : sources_(std::move(sources)), make_(std::move(make)) {}

  std::shared_ptr<const T> get() const {
    uint64_t now = revision();
    if (made_for_.load(std::memory_order_acquire) != now) rebuild();
    if (empty_.load(std::memory_order_relaxed)) return nullptr;
    return value_.load(std::memory_order_acquire);
  }

 private:
  // Of the last change to any source: it only grows.
  uint64_t revision() const {
    uint64_t newest = 0;
    for (const ResourceCache* source : sources_) newest = std::max(newest, source->changed());
    return newest;
  }
  void rebuild() const {
    std::lock_guard lock(mutex_);
    uint64_t now = revision();
    if (made_for_.load(std::memory_order_relaxed) == now) return;
    std::shared_ptr<const T> made = make_();
    empty_.store(made == nullptr, std::memory_order_relaxed);
    value_.store(std::move(made), std::memory_order_release);
    made_for_.store(now, std::memory_order_release);
  }

  const std::vector<const ResourceCache*> sources_;
  const Make make_;
  mutable std::mutex mutex_;
  mutable std::atomic<uint64_t> made_for_{UINT64_MAX};
  mutable std::atomic<bool> empty_{true};
  mutable std::atomic<std::shared_ptr<const T>> value_;
};

}  // namespace kcube::apiserver
