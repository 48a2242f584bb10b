// `kcube down`: ends the cluster's processes and removes everything they made on the machine, whoever was killed before.
#include <signal.h>
#include <unistd.h>

#include <cstdio>

#include "cmd/kcube/nodes.h"
#include "cmd/kcube/verbs.h"
#include "pkg/base/file.h"
#include "pkg/base/process.h"
#include "pkg/server/kubeconfig.h"

namespace kcube::cli {
namespace {

Result<void> stop_process(pid_t pid, std::chrono::seconds grace) {
  auto pidfd = process::open_pid(pid);
  if (!pidfd) return {};
  if (auto sent = process::send_signal(*pidfd, SIGUSR2); !sent) return sent;
  // Its pods get their grace, then it has some seconds for itself.
  if (process::wait_exit(*pidfd, grace + std::chrono::seconds(10))) return {};
  if (auto sent = process::send_signal(*pidfd, SIGKILL); !sent) return sent;
  if (!process::wait_exit(*pidfd, std::chrono::seconds(10))) return fail(Status::timeout("process " + std::to_string(pid) + " to end"));
  return {};
}

Result<void> take_down(const Cluster& c, const DownFlags& flags) {
  bool graceful = flags.grace_seconds > 0;
  if (pid_t pid = c.running())
    if (auto stopped = stop_process(pid, std::chrono::seconds(flags.grace_seconds)); !stopped) return stopped;
  remove_extra_nodes(c, graceful);
  if (auto cleaned = agent::clean_up(node_options(c, 1)); !cleaned) return cleaned;
  if (auto removed = file::remove_tree(c.run_dir); !removed) return removed;
  if (!flags.purge) return {};
  if (auto removed = file::remove_tree(c.data_dir); !removed) return removed;
  // A file that cannot be read or written is its owner's affair; the cluster is gone all the same.
  UserFile user = user_kubeconfig();
  if (auto removed = server::remove_from_kubeconfig(user.path, c.context()); !removed)
    std::fprintf(stderr, "kcube: context %s stays in your kubeconfig: %s\n", c.context().c_str(), removed.error().message().c_str());
  return {};
}

}  // namespace

int down(const ClusterFlags& cluster_flags, const DownFlags& flags) {
  if (::geteuid() != 0) return report(Status(403, "KC_NOT_ROOT", "try `sudo kcube down`"));
  std::vector<Cluster> clusters;
  if (flags.all) {
    clusters = all_clusters();
  } else {
    auto cluster = find_cluster(cluster_flags, false);
    if (!cluster) return report(cluster.error());
    clusters.push_back(std::move(*cluster));
  }
  for (const Cluster& c : clusters) {
    bool existed = file::exists(c.data_dir + "/cluster.json");
    if (auto done = take_down(c, flags); !done) return report(done.error().with_context("take down " + c.name));
    if (flags.quiet) continue;
    if (!existed) std::printf("There was no cluster %s\n", c.name.c_str());
    else if (flags.purge) std::printf("Cluster %s and its data are gone\n", c.name.c_str());
    else std::printf("Cluster %s is down; its data is in %s (`kcube up` brings it back, `kcube down --purge` removes it)\n", c.name.c_str(), c.data_dir.c_str());
  }
  return 0;
}

}  // namespace kcube::cli
