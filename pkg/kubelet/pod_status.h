// The status of a pod, made from what its worker knows.
#pragma once

#include "pkg/api/views/core_v1.h"
#include "pkg/kubelet/pod_worker.h"

namespace kcube::kubelet {

// ContainerState.terminated of an exited container.
json::value terminated_state(const runtime::ContainerStatus& status);

class StatusBuilder {
 public:
  StatusBuilder(const PodWorker& worker, const core::v1::Pod& pod) : worker_(worker), pod_(pod) {}
  // With `over`, as it is after termination: every container has ended.
  json::value build(bool over = false);

 private:
  json::array container_statuses(api::views::ListView<core::v1::Container> containers, bool init, bool over);
  json::object container_status(const core::v1::Container& container, const ContainerRecord& record, bool init, bool over);
  std::string phase(bool over) const;
  json::array conditions(bool over, std::string_view phase);
  void add_condition(json::array& out, std::string_view type, bool value, std::string_view reason = {}, std::string_view message = {});

  const PodWorker& worker_;
  const core::v1::Pod& pod_;
};

}  // namespace kcube::kubelet
