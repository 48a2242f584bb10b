// What is counted of requests, in kube-apiserver's terms: how many, how long, how large, how many right now.
//
// A request finds its series once, by a map of its own thread, and then counts without a lock. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "pkg/apiserver/request_info.h"
#include "pkg/base/metrics.h"

namespace kcube::apiserver {

// Requests of one kind: what they ask for, to what, in which scope.
struct RequestSeries {
  RequestSeries();
  std::string verb, group, version, resource, subresource, scope, component, dry_run;
  bool mutating = false;
  // indicators: without the time that flow control and webhooks took.
  Histogram duration, indicators, sizes, bodies, watch_sizes;
  std::atomic<int64_t> long_running{0};
  Counter dropped{0};                  // refused with 429 since too much is going on
  void answered(int code, double seconds, double indicated_seconds, uint64_t bytes);
  bool done() const { return codes_[0].requests > 0; }

 private:
  friend class RequestMetrics;
  static constexpr size_t kCodes = 24;
  struct Code {
    std::atomic<int> code{0};
    Counter requests{0};
  };
  std::array<Code, kCodes> codes_;     // filled from the front; the last takes what finds no room
};

// How many there are at once, and how many there were at most in the second before.
class Peak {
 public:
  int64_t enter();
  void leave() { now_.fetch_sub(1, std::memory_order_relaxed); }
  int64_t now() const { return now_.load(std::memory_order_relaxed); }
  int64_t of_last_second() const;

 private:
  std::atomic<int64_t> now_{0}, highest_{0}, before_{0}, second_{0};
};

class RequestMetrics {
 public:
  RequestMetrics();
  // `known` says that there is such a resource: names that clients made up are not kept.
  RequestSeries& series(const RequestInfo& info, std::string_view path, bool known, bool apply, bool dry_run);
  Peak& inflight(bool mutating) { return inflight_[mutating ? 1 : 0]; }
  // Who: names that clients may choose are not kept.
  void authenticated(const std::string* user, double seconds);
  void authorized(bool allowed, double seconds);
  void write(MetricsText& out) const;

 private:
  RequestSeries& find(const std::string& key, const RequestInfo& info, std::string_view path, bool known, bool apply, bool dry_run);
  void write_merged(MetricsText& out, Labels (*labels)(const RequestSeries&), Histogram RequestSeries::* member, bool (*wanted)(const RequestSeries&)) const;
  void write_requests(MetricsText& out) const;
  void write_watches(MetricsText& out) const;
  void write_identities(MetricsText& out) const;
  const uint64_t id_ = ++made_;
  static inline std::atomic<uint64_t> made_{0};
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::unique_ptr<RequestSeries>> all_;
  Peak inflight_[2];
  Counter authentications_[2] = {}, authorizations_[2] = {};          // failed, succeeded
  Histogram authentication_seconds_[2], authorization_seconds_[2];
  Family<Counter> users_;
};

}  // namespace kcube::apiserver
