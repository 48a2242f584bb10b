// The host's ids that pods with `hostUsers: false` have for themselves (KEP-127): ranges of 65536 that follow each other.
//
// A range belongs to a pod from its first sandbox until its directory is removed, and is written down there, so that a
// restarted kcube gives it to nobody else. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "pkg/base/status.h"

namespace kcube::kubelet {

class UserNamespaces {
 public:
  // Reads what the pods below `pods_dir` have already.
  explicit UserNamespaces(std::string pods_dir, uint32_t max_pods = 110);
  // The first id of the pod's range: the one that it has, or a free one.
  Result<uint32_t> allocate(const std::string& pod_uid);
  // Its directory is gone. Pods without a range are fine.
  void release(const std::string& pod_uid);

 private:
  std::string file_of(const std::string& pod_uid) const { return pods_dir_ + "/" + pod_uid + "/userns"; }

  const std::string pods_dir_;
  const uint32_t max_pods_;
  std::mutex mutex_;
  std::map<std::string, uint32_t> starts_;  // pod UID -> first id
};

}  // namespace kcube::kubelet
