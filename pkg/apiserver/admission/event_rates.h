// How many events each of their sources may write: token buckets, by what the configuration of EventRateLimit counts.
// Thread-safe. Source: the Kubernetes docs, Configuration of eventratelimit.admission.k8s.io/v1alpha1.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/base/clock.h"
#include "pkg/base/status.h"

namespace kcube::apiserver {

class EventRates {
 public:
  // 400 for a configuration without limits or with one that makes no sense.
  static Result<std::unique_ptr<EventRates>> create(const json::value& configuration, Clock& clock);
  // What the event counts as under a limit: "Server", "Namespace", "User", "SourceAndObject".
  using KeyOf = std::function<std::string(const std::string& type)>;
  // 429 naming every limit that is used up.
  Result<void> take(const KeyOf& key_of);

 private:
  struct Bucket {
    double tokens = 0;
    SteadyTime at{};
  };
  struct Limit {
    std::string type;
    double per_second = 0, burst = 0;
    size_t size = 0;                      // buckets that are remembered
    std::unordered_map<std::string, Bucket> buckets;
  };
  explicit EventRates(Clock& clock) : clock_(clock) {}
  bool take_one(Limit& limit, const std::string& key);

  Clock& clock_;
  std::mutex mutex_;
  std::vector<Limit> limits_;
};

}  // namespace kcube::apiserver
