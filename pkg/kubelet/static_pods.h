// Static pods: manifests in a directory of the node, run without the API server and shown there as mirror pods.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pkg/api/object.h"

namespace kcube::kubelet {

class StaticPods {
 public:
  // Reads the directory now and on every change (inotify); `changed` gets the whole set, on a thread of its own.
  // Names get the suffix "-<node>", the uid is a hash of file and content, so that a changed file is another pod.
  static Result<std::unique_ptr<StaticPods>> watch(const std::string& directory, const std::string& node_name,
                                                   std::function<void(std::vector<api::ObjectPtr>)> changed);
  virtual ~StaticPods() = default;
};

}  // namespace kcube::kubelet
