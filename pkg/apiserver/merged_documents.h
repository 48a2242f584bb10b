// Discovery and OpenAPI documents of this server with those of extension API servers put in. Kept until either changes.
// Thread-safe. Source: what kube-apiserver's aggregator answers.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "pkg/apiserver/aggregator.h"

namespace kcube::apiserver {

class MergedDocuments {
 public:
  explicit MergedDocuments(const Aggregator& aggregator) : aggregator_(aggregator) {}
  // Each takes our own document (empty: we have none) and answers the merged one; only while the aggregator is active.
  std::string groups(std::string_view own) const;                              // /apis, APIGroupList
  std::string group(std::string_view name, std::string_view own) const;        // /apis/GROUP; empty when nobody has it
  std::string aggregated(std::string_view own) const;                          // /apis, APIGroupDiscoveryList
  std::string openapi_v3_index(std::string_view own) const;
  std::string openapi_v2(std::string_view own) const;

 private:
  template <typename Make>
  std::string kept(const std::string& key, std::string_view own, const Make& make) const;

  const Aggregator& aggregator_;
  mutable std::mutex mutex_;
  mutable uint64_t generation_ = 0;
  struct Kept {
    uint64_t own = 0;      // hash of what it was made from
    std::string text;
  };
  mutable std::map<std::string, Kept> kept_;
};

}  // namespace kcube::apiserver
