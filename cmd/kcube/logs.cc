// `kcube logs`: what the cluster's own process says (pods' logs are kubectl's).
#include <unistd.h>

#include "cmd/kcube/verbs.h"
#include "pkg/base/file.h"

namespace kcube::cli {

int logs(const ClusterFlags& cluster_flags, const LogsFlags& flags) {
  auto cluster = find_cluster(cluster_flags, false);
  if (!cluster) return report(cluster.error());
  std::string path = cluster->log_file();
  if (!file::exists(path)) return report(Status::not_found("there is no log of cluster " + cluster->name + " yet: start it with `kcube up`"));
  std::string lines = flags.tail < 0 ? "+1" : std::to_string(flags.tail);
  std::vector<const char*> argv{"tail", "-n", lines.c_str()};
  if (flags.follow) argv.push_back("-F");
  argv.push_back(path.c_str());
  argv.push_back(nullptr);
  ::execvp("tail", const_cast<char* const*>(argv.data()));
  return report(Status::from_errno("run tail"));
}

}  // namespace kcube::cli
