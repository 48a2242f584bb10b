// What of a pod's resources this node has granted, and what its containers really have: the two differ from the spec while
// a resize in place is under way. Internal to the room. Source: KEP-1287.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pkg/api/views/core_v1.h"

namespace kcube::kubelet {

class PodResources {
 public:
  // A new pod is granted what it asks for; one that ran before the kubelet came what its status says.
  explicit PodResources(const core::v1::Pod& pod);

  // True when the spec asks for something that was not granted.
  bool asks_for_more(const core::v1::Pod& pod) const;
  void grant(const core::v1::Pod& pod);
  // A copy of the pod with what was granted in the place of what it asks for.
  json::value granted(const core::v1::Pod& pod) const;

  // Of one container: ResourceRequirements granted, and those that its cgroup has; null for an unknown name.
  const json::value& granted(std::string_view container) const { return find(container).granted; }
  const json::value& actual(std::string_view container) const { return find(container).actual; }
  bool settled(std::string_view container) const { return find(container).granted == find(container).actual; }
  bool settled() const;
  // The container runs with what is granted now.
  void applied(std::string_view container);

 private:
  struct Amounts {
    json::value granted, actual;
  };
  const Amounts& find(std::string_view container) const;

  std::map<std::string, Amounts, std::less<>> containers_;
};

// The resources ("cpu", "memory") whose request or limit is not the same in both ResourceRequirements.
std::vector<std::string> changed_resources(const json::value& before, const json::value& now);
// True when the container's resizePolicy wants a restart for one of these resources.
bool restarts_for(const core::v1::Container& container, const std::vector<std::string>& resources);

}  // namespace kcube::kubelet
