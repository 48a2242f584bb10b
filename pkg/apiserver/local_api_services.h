// The APIServices of the groups that are served here: one for each group and version, with kube-apiserver's priorities.
#pragma once

#include <string>
#include <vector>

namespace kcube::apiserver {

struct LocalApiService {
  std::string group, version;
  int group_priority = 0, version_priority = 0;
  std::string name() const { return version + "." + group; }
};
std::vector<LocalApiService> local_api_services();

}  // namespace kcube::apiserver
