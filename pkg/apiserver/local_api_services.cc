#include "pkg/apiserver/local_api_services.h"

#include <algorithm>
#include <string_view>

#include "pkg/api/schema.h"

namespace kcube::apiserver {
namespace {

struct Row {
  std::string_view group, version;
  int group_priority, version_priority;
};
// Observed from kube-apiserver 1.36.
constexpr Row kPriorities[] = {
    {"", "v1", 18000, 1},
    {"apps", "v1", 17800, 15},
    {"events.k8s.io", "v1", 17750, 15},
    {"authentication.k8s.io", "v1", 17700, 15},
    {"authorization.k8s.io", "v1", 17600, 15},
    {"autoscaling", "v1", 17500, 15},
    {"autoscaling", "v2", 17500, 30},
    {"batch", "v1", 17400, 15},
    {"certificates.k8s.io", "v1", 17300, 15},
    {"networking.k8s.io", "v1", 17200, 15},
    {"policy", "v1", 17100, 15},
    {"rbac.authorization.k8s.io", "v1", 17000, 15},
    {"storage.k8s.io", "v1", 16800, 15},
    {"admissionregistration.k8s.io", "v1", 16700, 15},
    {"apiextensions.k8s.io", "v1", 16700, 15},
    {"scheduling.k8s.io", "v1", 16600, 15},
    {"coordination.k8s.io", "v1", 16500, 15},
    {"node.k8s.io", "v1", 16300, 15},
    {"discovery.k8s.io", "v1", 16200, 15},
    {"resource.k8s.io", "v1", 16200, 21},
    {"flowcontrol.apiserver.k8s.io", "v1", 16100, 21},
};
constexpr int kOtherGroup = 1000, kOtherVersion = 100;

}  // namespace

std::vector<LocalApiService> local_api_services() {
  std::vector<LocalApiService> all;
  for (const api::ResourceInfo& r : api::Schema::builtin().resources()) {
    // The aggregator's own group has none: it is how the others are found.
    if (r.group == "apiregistration.k8s.io") continue;
    if (std::ranges::any_of(all, [&](const LocalApiService& a) { return a.group == r.group && a.version == r.version; })) continue;
    LocalApiService one{std::string(r.group), std::string(r.version), kOtherGroup, kOtherVersion};
    for (const Row& row : kPriorities) {
      if (row.group != r.group || row.version != r.version) continue;
      one.group_priority = row.group_priority;
      one.version_priority = row.version_priority;
    }
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace kcube::apiserver
