// `kcube kubectl`: the kubectl on PATH, talking to this cluster.
#include <errno.h>
#include <unistd.h>

#include <cstdio>

#include "cmd/kcube/verbs.h"
#include "pkg/base/file.h"

namespace kcube::cli {

int kubectl(const ClusterFlags& cluster_flags, const std::vector<std::string>& arguments) {
  auto cluster = find_cluster(cluster_flags, false);
  if (!cluster) return report(cluster.error());
  std::string config = cluster->kubeconfig();
  if (::access(config.c_str(), R_OK) != 0) {
    if (errno == EACCES) return report(Status(403, "KC_NOT_ROOT", config + " is root's: use plain `kubectl` with context " + cluster->context() + ", or sudo"));
    return report(Status::not_found("there is no cluster " + cluster->name + ": make one with `kcube up`"));
  }
  // kubectl goes on: some of its verbs need no server.
  if (cluster->running() == 0) std::fprintf(stderr, "kcube: cluster %s is stopped: `kcube up` starts it\n", cluster->name.c_str());
  ::setenv("KUBECONFIG", config.c_str(), 1);
  std::vector<char*> argv{const_cast<char*>("kubectl")};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::execvp("kubectl", argv.data());
  return report(Status::not_found("kubectl is not on PATH: install it from your distribution or kubernetes.io"));
}

}  // namespace kcube::cli
