#include "pkg/client/event_correlator.h"

#include <algorithm>

namespace kcube::client {
namespace {

// The defaults of k8s.io/client-go tools/record.
constexpr size_t kRemembered = 4096;
constexpr size_t kMaxSimilar = 10;
constexpr auto kSimilarFor = std::chrono::minutes(10);
constexpr double kBurst = 25;
constexpr double kTokensPerSecond = 1.0 / 300;

}  // namespace

template <typename T>
T& EventCorrelator::Memory<T>::at(const std::string& key, bool& fresh) {
  auto it = index.find(key);
  fresh = it == index.end();
  if (!fresh) {
    items.splice(items.begin(), items, it->second);
    return items.front().second;
  }
  items.emplace_front(key, T{});
  index[key] = items.begin();
  if (items.size() > kRemembered) {
    index.erase(items.back().first);
    items.pop_back();
  }
  return items.front().second;
}

bool EventCorrelator::spam(const std::string& source, SteadyTime now) {
  bool fresh = false;
  Bucket& bucket = buckets_.at(source, fresh);
  double seconds = std::chrono::duration<double>(now - bucket.last).count();
  bucket.tokens = fresh ? kBurst : std::min(kBurst, bucket.tokens + seconds * kTokensPerSecond);
  bucket.last = now;
  if (bucket.tokens < 1) return true;
  bucket.tokens -= 1;
  return false;
}

EventCorrelator::Verdict EventCorrelator::judge(const std::string& source, const std::string& about, std::string_view message, SteadyTime now) {
  bool fresh = false;
  Similar& similar = similar_.at(about, fresh);
  if (now - similar.last > kSimilarFor) similar.messages.clear();
  similar.last = now;
  similar.messages.emplace(message);
  Verdict out;
  if (similar.messages.size() <= kMaxSimilar) {
    out.message = message;
    out.key = about + "|" + out.message;
  } else {
    similar.messages.erase(similar.messages.begin());
    out.message = "(combined from similar events): " + std::string(message);
    out.key = about;
  }
  out.dropped = spam(source, now);
  return out;
}

}  // namespace kcube::client
