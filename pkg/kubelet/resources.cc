#include "pkg/kubelet/resources.h"

#include <algorithm>

#include "pkg/api/quantity.h"

namespace kcube::kubelet {
namespace {

api::Quantity amount(const core::v1::Container& c, std::string_view which, std::string_view name) {
  return api::Quantity::from_json(json::at(c.json(), {"resources", which, name}));
}

}  // namespace

QosClass qos_class(const core::v1::Pod& pod) {
  std::string_view qos = pod.status().qos_class();
  if (qos == "Guaranteed") return QosClass::guaranteed;
  return qos == "BestEffort" ? QosClass::best_effort : QosClass::burstable;
}

std::string pod_cgroup(const std::string& cgroup_root, const core::v1::Pod& pod) {
  QosClass qos = qos_class(pod);
  std::string parent = cgroup_root + "/kubepods";
  if (qos == QosClass::burstable) parent += "/burstable";
  if (qos == QosClass::best_effort) parent += "/besteffort";
  return parent + "/pod" + std::string(pod.metadata().uid());
}

runtime::ResourceLimits container_limits(const core::v1::Pod& pod, const core::v1::Container& container, uint64_t node_memory_bytes) {
  runtime::ResourceLimits limits;
  int64_t cpu_request = amount(container, "requests", "cpu").milli_value(), cpu_limit = amount(container, "limits", "cpu").milli_value();
  if (cpu_request == 0) cpu_request = cpu_limit;
  limits.cpu_shares = static_cast<uint64_t>(std::clamp<int64_t>(cpu_request * 1024 / 1000, 2, 262144));
  if (cpu_limit > 0) limits.cpu_quota_us = std::max<int64_t>(1000, cpu_limit * static_cast<int64_t>(limits.cpu_period_us) / 1000);
  limits.memory_limit_bytes = amount(container, "limits", "memory").value();
  switch (qos_class(pod)) {
    case QosClass::guaranteed: limits.oom_score_adj = -997; break;
    case QosClass::best_effort: limits.oom_score_adj = 1000; break;
    case QosClass::burstable: {
      int64_t request = amount(container, "requests", "memory").value();
      int64_t score = node_memory_bytes == 0 ? 999 : 1000 - 1000 * request / static_cast<int64_t>(node_memory_bytes);
      limits.oom_score_adj = static_cast<int>(std::clamp<int64_t>(score, 3, 999));
    }
  }
  return limits;
}

}  // namespace kcube::kubelet
