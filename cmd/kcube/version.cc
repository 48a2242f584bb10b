// `kcube version`.
#include <cstdio>

#include "cmd/kcube/verbs.h"
#include "pkg/api/json.h"

namespace kcube::cli {

int version(const std::string& output) {
  if (output == "json") {
    std::printf("%s\n", json::serialize(json::object{{"version", kVersion}, {"kubernetesVersion", kKubernetesVersion}}).c_str());
    return 0;
  }
  std::printf("kcube %s (Kubernetes %s)\n", kVersion, kKubernetesVersion);
  return 0;
}

}  // namespace kcube::cli
