// `kcube up`: starts the cluster in the background, or finds it running, and says each step as it is done.
#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdio>

#include "cmd/kcube/bundled.h"
#include "cmd/kcube/demo.h"
#include "cmd/kcube/nodes.h"
#include "cmd/kcube/verbs.h"
#include "pkg/base/file.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"
#include "pkg/server/kubeconfig.h"

namespace kcube::cli {
namespace {

using Clock = std::chrono::steady_clock;

// One line a step, with the time since the start.
class Steps {
 public:
  explicit Steps(bool quiet) : quiet_(quiet) {}
  void done(const std::string& what) const {
    if (quiet_) return;
    double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    std::printf("  %6.2f s  %s\n", seconds, what.c_str());
    std::fflush(stdout);
  }
  void say(const std::string& text) const {
    if (!quiet_) std::printf("%s\n", text.c_str());
  }

 private:
  const bool quiet_;
  const Clock::time_point start_ = Clock::now();
};

Result<void> start_server(const Cluster& cluster, const FlagValues& flags, const Steps& steps) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Status::from_errno("pipe"));
  Fd read_end(ends[0]), write_end(ends[1]);
  process::SpawnOptions spawn;
  spawn.argv = {process::self_path()};
  for (const auto& more : {cluster.flags(), std::vector<std::string>{"server", "--progress-fd", "3", "--log-file", cluster.log_file()}})
    spawn.argv.insert(spawn.argv.end(), more.begin(), more.end());
  for (const auto& [flag, values] : flags) {
    if (values.empty()) spawn.argv.push_back(flag);
    for (const std::string& value : values) spawn.argv.insert(spawn.argv.end(), {flag, value});
  }
  auto log = file::open(cluster.log_file(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (!log) return fail(log.error());
  spawn.stdout_fd = log->get();
  spawn.stderr_fd = log->get();
  spawn.extra_fds = {{write_end.get(), 3}};
  spawn.new_session = true;
  auto child = process::spawn(spawn);
  if (!child) return fail(child.error());
  write_end.reset();
  FILE* lines = ::fdopen(read_end.release(), "r");
  char* line = nullptr;
  size_t capacity = 0;
  Result<void> result = fail(Status::internal("the server ended before it was ready: see " + cluster.log_file()));
  while (::getline(&line, &capacity, lines) > 0) {
    std::string_view text = trim(line);
    if (text.starts_with("step ")) steps.done(std::string(text.substr(5)));
    if (text.starts_with("error ")) result = fail(Status::internal(std::string(text.substr(6)) + "\n  the log is " + cluster.log_file()));
    if (text.starts_with("ready")) result = {};
  }
  std::free(line);
  std::fclose(lines);
  return result;
}

// How many nodes there are to be: not the server's business.
int take_nodes(FlagValues& flags) {
  auto given = flags.extract("--nodes");
  return given.empty() || given.mapped().empty() ? 1 : parse_int<int>(given.mapped().back()).value_or(1);
}

}  // namespace

UserFile user_kubeconfig() {
  uid_t uid = ::getuid();
  gid_t gid = ::getgid();
  if (const char* sudo = std::getenv("SUDO_UID")) {
    uid = parse_int<uid_t>(sudo).value_or(uid);
    if (const char* group = std::getenv("SUDO_GID")) gid = parse_int<gid_t>(group).value_or(gid);
  }
  std::string home = "/root";
  if (std::getenv("SUDO_UID") == nullptr && std::getenv("HOME") != nullptr) home = std::getenv("HOME");
  else if (const passwd* entry = ::getpwuid(uid)) home = entry->pw_dir;
  std::string first;
  if (const char* list = std::getenv("KUBECONFIG")) {
    for (std::string_view path : split(list, ':')) {
      if (path.empty()) continue;
      if (first.empty()) first = path;
      if (file::exists(std::string(path))) return {std::string(path), uid, gid};
    }
  }
  return {first.empty() ? home + "/.kube/config" : first, uid, gid};
}

int up(const ClusterFlags& cluster_flags, const UpFlags& flags) {
  Steps steps(flags.quiet || !flags.output.empty());
  if (::geteuid() != 0) return report(Status(403, "KC_NOT_ROOT", "containers need root on this machine: try `sudo kcube up`"));
  auto cluster = find_cluster(cluster_flags, true);
  if (!cluster) return report(cluster.error());
  const FlagValues before = with_remembered(*cluster, {}), all = with_remembered(*cluster, flags.kept);
  FlagValues for_server = all;
  const int nodes = take_nodes(for_server);
  if (all != before)
    if (auto kept = remember_flags(*cluster, all); !kept) return report(kept.error());
  if (pid_t pid = cluster->running()) {
    steps.done("cluster " + cluster->name + " is running already (pid " + std::to_string(pid) + ")");
    for (const auto& [flag, values] : flags.kept)
      if (for_server.contains(flag)) steps.say("           " + flag + " takes effect when it starts again: kcube down, kcube up");
  } else {
    steps.say("Starting cluster " + cluster->name);
    if (nodes > 1)
      if (auto made = make_nodes_bridge(*cluster); !made) return report(made.error());
    if (auto started = start_server(*cluster, for_server, steps); !started) {
      // Flags with which nothing starts are not for next time.
      if (all != before) (void)remember_flags(*cluster, before);
      return report(started.error());
    }
  }
  for (int node = 2; node <= nodes; ++node) {
    if (auto started = start_extra_node(*cluster, node); !started) return report(started.error());
    steps.done("node " + std::to_string(node) + " ready");
  }
  auto entry = file::read(cluster->kubeconfig());
  if (!entry) return report(entry.error());
  UserFile user = user_kubeconfig();
  if (auto merged = server::merge_kubeconfig(user.path, *entry, !flags.keep_context, user.uid, user.gid); !merged)
    return report(Status(500, "KC_KUBECONFIG", merged.error().message() + "\n  the cluster runs: KUBECONFIG=" + cluster->kubeconfig() + " reaches it"));
  steps.done("context " + cluster->context() + " in " + user.path);
  std::string url;
  if (flags.demo) {
    auto deployed = deploy_demo(*cluster, kDemoImage, std::chrono::seconds(flags.wait_seconds));
    if (!deployed) return report(deployed.error());
    url = *deployed;
    steps.done("demo answers at " + url);
  }
  if (flags.output == "json") {
    json::object out{{"name", cluster->name}, {"context", cluster->context()}, {"kubeconfig", user.path}, {"dataDir", cluster->data_dir}};
    if (!url.empty()) out["url"] = url;
    std::printf("%s\n", json::serialize(json::value(std::move(out))).c_str());
    return 0;
  }
  if (!url.empty()) steps.say("Try: curl " + url + "     then: kubectl get pods");
  else steps.say("Try: kubectl get nodes");
  return 0;
}

}  // namespace kcube::cli
