// `kcube status`: what runs, since when, how much it takes, and what is not well.
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>

#include "cmd/kcube/verbs.h"
#include "pkg/base/file.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"

namespace kcube::cli {
namespace {

// Resident bytes of a process: proc_pid_status(5).
uint64_t resident_bytes(pid_t pid) {
  auto text = file::read("/proc/" + std::to_string(pid) + "/status");
  if (!text) return 0;
  size_t at = text->find("VmRSS:");
  if (at == std::string::npos) return 0;
  return std::strtoull(text->c_str() + at + 6, nullptr, 10) * 1024;
}

constexpr size_t kMostTroubled = 20;
// With less the store may refuse writes at any moment.
constexpr int64_t kScarceBytes = 16 << 20;

int64_t free_bytes(const std::string& directory) {
  struct statvfs disk {};
  return ::statvfs(directory.c_str(), &disk) == 0 ? static_cast<int64_t>(disk.f_bavail * disk.f_frsize) : kScarceBytes;
}

json::array node_states(client::Client& api) {
  json::array out;
  auto nodes = api.list({"", "v1", "nodes"}, "");
  if (!nodes) return out;
  for (const auto& node : nodes->items) {
    json::object one{{"name", json::key(node->name())}, {"ready", false}};
    for (const json::value& c : json::get_array(json::at(&node->value(), {"status", "conditions"}))) {
      if (json::get_string(c, {"type"}) != "Ready") continue;
      one["ready"] = json::get_string(c, {"status"}) == "True";
      if (!one["ready"].as_bool()) one["reason"] = json::key(json::get_string(c, {"message"}));
    }
    out.push_back(std::move(one));
  }
  return out;
}

// Why a pod does not do what it should, in the words of `kubectl get pods`; empty when it does, or is on its way.
std::string trouble(const json::value& pod) {
  std::string_view phase = json::get_string(pod, {"status", "phase"});
  if (phase == "Failed" || phase == "Unknown") {
    std::string_view reason = json::get_string(pod, {"status", "reason"});
    return std::string(reason.empty() ? phase : reason);
  }
  for (std::string_view list : {"initContainerStatuses", "containerStatuses"})
    for (const json::value& status : json::get_array(json::at(&pod, {"status", list}))) {
      std::string_view reason = json::get_string(status, {"state", "waiting", "reason"});
      if (!reason.empty() && reason != "ContainerCreating" && reason != "PodInitializing") return std::string(reason);
    }
  for (const json::value& c : json::get_array(json::at(&pod, {"status", "conditions"})))
    if (json::get_string(c, {"type"}) == "PodScheduled" && json::get_string(c, {"status"}) == "False") return std::string(json::get_string(c, {"message"}));
  return {};
}

json::object pod_counts(client::Client& api) {
  int64_t total = 0, running = 0;
  json::array troubled;
  if (auto pods = api.list({"", "v1", "pods"}, "")) {
    for (const auto& pod : pods->items) {
      ++total;
      running += json::get_string(pod->value(), {"status", "phase"}) == "Running";
      std::string reason = trouble(pod->value());
      if (!reason.empty() && troubled.size() < kMostTroubled)
        troubled.push_back(json::object{{"namespace", json::key(pod->namespace_())}, {"name", json::key(pod->name())}, {"reason", reason}});
    }
  }
  return {{"total", total}, {"running", running}, {"notWell", std::move(troubled)}};
}

json::object describe(const Cluster& c) {
  json::object out{{"name", c.name}, {"context", c.context()}, {"dataDir", c.data_dir}};
  pid_t pid = c.running();
  bool known = file::exists(c.data_dir + "/cluster.json");
  out["state"] = pid != 0 ? "running" : known ? "stopped" : "absent";
  if (pid == 0) return out;
  out["pid"] = pid;
  out["diskFreeBytes"] = free_bytes(c.data_dir);
  out["residentBytes"] = resident_bytes(pid);
  auto api = admin_client(c);
  if (!api) return out;
  auto version = (*api)->list({"", "v1", "namespaces"}, "", {});
  out["apiServer"] = version ? "ok" : version.error().message();
  if (!version) return out;
  out["nodes"] = node_states(**api);
  out["pods"] = pod_counts(**api);
  return out;
}

void print(const json::object& c) {
  auto text = [&](const char* name) { return std::string(json::get_string(c.if_contains(name))); };
  std::printf("%s: %s", text("name").c_str(), text("state").c_str());
  if (const json::value* pid = c.if_contains("pid"))
    std::printf(", pid %lld, %.0f MB", static_cast<long long>(json::get_int(pid)), static_cast<double>(json::get_int(c.if_contains("residentBytes"))) / 1e6);
  std::printf("\n  data      %s\n", text("dataDir").c_str());
  if (!c.contains("pid")) return;
  if (int64_t left = json::get_int(c.if_contains("diskFreeBytes")); left < kScarceBytes)
    std::printf("  disk      full: %lld MB are left, and writes are refused when none is\n", static_cast<long long>(left >> 20));
  std::printf("  API       %s\n", text("apiServer").c_str());
  for (const json::value& node : json::get_array(c.if_contains("nodes"))) {
    bool ready = json::get_bool(node, {"ready"});
    std::printf("  node      %s %s%s%s\n", std::string(json::get_string(node, {"name"})).c_str(), ready ? "Ready" : "NotReady", ready ? "" : ": ",
                std::string(json::get_string(node, {"reason"})).c_str());
  }
  const json::value* pods = c.if_contains("pods");
  std::printf("  pods      %lld running of %lld\n", static_cast<long long>(json::get_int(json::find(pods, "running"))), static_cast<long long>(json::get_int(json::find(pods, "total"))));
  for (const json::value& pod : json::get_array(json::find(pods, "notWell")))
    std::printf("  pod       %s/%s: %s\n", std::string(json::get_string(pod, {"namespace"})).c_str(), std::string(json::get_string(pod, {"name"})).c_str(),
                std::string(json::get_string(pod, {"reason"})).c_str());
}

bool healthy(const json::object& c) {
  if (json::get_string(c.if_contains("state")) != "running" || json::get_string(c.if_contains("apiServer")) != "ok") return false;
  for (const json::value& node : json::get_array(c.if_contains("nodes")))
    if (!json::get_bool(node, {"ready"})) return false;
  return json::get_int(c.if_contains("diskFreeBytes")) >= kScarceBytes;
}

}  // namespace

int status(const ClusterFlags& cluster_flags, const StatusFlags& flags) {
  auto cluster = find_cluster(cluster_flags, false);
  if (!cluster) return report(cluster.error());
  json::object state = describe(*cluster);
  if (flags.output == "json") std::printf("%s\n", json::serialize(json::value(state)).c_str());
  else print(state);
  return healthy(state) ? 0 : 3;
}

}  // namespace kcube::cli
