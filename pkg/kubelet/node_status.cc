#include "pkg/kubelet/node_status.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <thread>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::kubelet {
namespace {

using client::resources::kLeases;
using client::resources::kNodes;

// Source: KEP-589: a Lease of 40 s renewed every 10 s; the status itself only when it changes or every 5 minutes.
constexpr Duration kRenew = std::chrono::seconds(10);
constexpr Duration kRetry = std::chrono::seconds(1);
constexpr Duration kReport = std::chrono::minutes(5);
constexpr int kLeaseSeconds = 40;

json::value str(std::string_view s) { return json::value(json::key(s)); }

uint64_t machine_memory() {
  std::string info = file::read("/proc/meminfo").value_or("");
  size_t at = info.find("MemTotal:");
  if (at == std::string::npos) return 0;
  std::string_view rest = trim(std::string_view(info).substr(at + 9, info.find('\n', at) - at - 9));
  return parse_int<uint64_t>(rest.substr(0, rest.find(' '))).value_or(0) * 1024;
}

uint64_t disk_bytes(const std::string& path) {
  struct statvfs st{};
  return ::statvfs(path.c_str(), &st) == 0 ? uint64_t{st.f_blocks} * st.f_frsize : 0;
}

std::string os_release(std::string_view key) {
  std::string text = file::read("/etc/os-release").value_or("");
  for (std::string_view line : split(text, '\n')) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != '=') continue;
    line.remove_prefix(key.size() + 1);
    if (line.starts_with('"') && line.ends_with('"') && line.size() > 1) line = line.substr(1, line.size() - 2);
    return std::string(line);
  }
  return {};
}

std::string machine_arch() {
  utsname u{};
  ::uname(&u);
  std::string machine = u.machine;
  return machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : machine;
}

json::object condition(std::string_view type, bool value, std::string_view reason, std::string_view message, const std::string& now) {
  return {{"type", str(type)}, {"status", value ? "True" : "False"}, {"reason", str(reason)}, {"message", str(message)},
          {"lastHeartbeatTime", str(now)}, {"lastTransitionTime", str(now)}};
}

}  // namespace

void NodeStatus::measure() {
  const Options& o = context_.options;
  context_.memory_bytes = o.capacity_memory_bytes > 0 ? o.capacity_memory_bytes : machine_memory();
  double cpus = o.capacity_cpus > 0 ? o.capacity_cpus : std::max(1u, std::thread::hardware_concurrency());
  context_.cpu_millis = static_cast<uint64_t>(cpus * 1000);
}

Result<void> NodeStatus::start() {
  event("Starting");
  if (auto r = register_node(); !r) return r;
  renew_lease();
  schedule_status(kReport);
  return {};
}

void NodeStatus::stop() {
  if (stopped_.exchange(true)) return;
  {
    std::lock_guard lock(timers_);
    context_.clock.cancel(lease_timer_);
    context_.clock.cancel(status_timer_);
  }
  executor_.stop();
}


// The events by which one follows a node's life: NodeReady, NodeNotReady and those of pressures.
void NodeStatus::say_changes(const json::array& conditions) {
  struct Row {
    std::string_view type, when_true, when_false;
  };
  static constexpr Row kRows[] = {{"MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"},
                                  {"DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"},
                                  {"PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"},
                                  {"Ready", "NodeReady", "NodeNotReady"}};
  for (const json::value& now : conditions) {
    std::string_view type = json::get_string(now, {"type"}), status = json::get_string(now, {"status"});
    std::string_view before;
    for (const json::value& c : json::get_array(&last_conditions_))
      if (json::get_string(c, {"type"}) == type) before = json::get_string(c, {"status"});
    if (before == status) continue;
    for (const Row& row : kRows)
      if (row.type == type) event(status == "True" ? row.when_true : row.when_false);
  }
}

void NodeStatus::event(std::string_view reason) {
  const std::string& name = context_.options.node_name;
  // As kubelets do: the node's name stands for its uid.
  json::object node{{"kind", "Node"}, {"metadata", json::object{{"name", str(name)}, {"uid", str(name)}}}};
  std::string message = reason == "Starting" ? "Starting kubelet." : "Node " + name + " status is now: " + std::string(reason);
  context_.recorder.event(node, "Normal", reason, message);
}

json::object NodeStatus::desired_status() {
  const Options& o = context_.options;
  utsname u{};
  ::uname(&u);
  std::string now = format_time(context_.clock.now());
  std::string cpu = context_.cpu_millis % 1000 == 0 ? std::to_string(context_.cpu_millis / 1000) : std::to_string(context_.cpu_millis) + "m";
  json::object capacity{{"cpu", str(cpu)}, {"memory", str(std::to_string(context_.memory_bytes / 1024) + "Ki")}, {"pods", str(std::to_string(o.max_pods))},
                        {"ephemeral-storage", str(std::to_string(disk_bytes(o.data_dir) / 1024) + "Ki")}, {"hugepages-2Mi", "0"}};
  std::string hostname = o.node_name;
  bool network;
  std::string message;
  {
    std::lock_guard lock(mutex_);
    network = network_ready_;
    message = network_message_;
  }
  auto [runtime_name, runtime_version] = context_.runtime.version();
  json::array conditions;
  conditions.push_back(condition("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available", now));
  conditions.push_back(condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure", now));
  conditions.push_back(condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available", now));
  if (network) conditions.push_back(condition("Ready", true, "KubeletReady", "kubelet is posting ready status", now));
  else conditions.push_back(condition("Ready", false, "KubeletNotReady", "container runtime network not ready: " + message, now));
  // The time of a transition stays while the value does.
  for (json::value& c : conditions)
    for (const json::value& before : json::get_array(&last_conditions_))
      if (json::get_string(before, {"type"}) == json::get_string(c, {"type"}) && json::get_string(before, {"status"}) == json::get_string(c, {"status"}))
        c.get_object()["lastTransitionTime"] = *json::find(&before, "lastTransitionTime");
  say_changes(conditions);
  last_conditions_ = conditions;

  json::array images;
  if (auto list = context_.images.list()) {
    for (const runtime::Image& image : *list) {
      json::array names;
      for (const std::string& d : image.digests) names.push_back(str(d));
      for (const std::string& t : image.tags) names.push_back(str(t));
      if (images.size() < 50) images.push_back(json::object{{"names", std::move(names)}, {"sizeBytes", image.size_bytes}});
    }
  }
  std::string pretty = os_release("PRETTY_NAME");
  json::object info{{"machineID", str(trim(file::read("/etc/machine-id").value_or("")))}, {"systemUUID", str(trim(file::read("/etc/machine-id").value_or("")))},
                    {"bootID", str(trim(file::read("/proc/sys/kernel/random/boot_id").value_or("")))}, {"kernelVersion", str(o.kernel_version.empty() ? u.release : o.kernel_version)},
                    {"osImage", str(o.os_image.empty() ? pretty : o.os_image)}, {"containerRuntimeVersion", str(runtime_name + "://" + runtime_version)},
                    {"kubeletVersion", str(o.version)}, {"kubeProxyVersion", ""}, {"operatingSystem", "linux"}, {"architecture", str(machine_arch())}};
  return {{"capacity", capacity}, {"allocatable", capacity}, {"conditions", std::move(conditions)},
          {"addresses", json::array{json::object{{"type", "InternalIP"}, {"address", str(o.node_ip)}}, json::object{{"type", "Hostname"}, {"address", str(hostname)}}}},
          {"daemonEndpoints", json::object{{"kubeletEndpoint", json::object{{"Port", o.port}}}}}, {"nodeInfo", std::move(info)}, {"images", std::move(images)},
          {"features", json::object{{"supplementalGroupsPolicy", true}}},
          {"runtimeHandlers", json::array{json::object{{"name", ""}, {"features", json::object{{"recursiveReadOnlyMounts", true}, {"userNamespaces", runtime::check_user_namespaces().has_value()}}}}}}};
}

Result<void> NodeStatus::register_node() {
  const Options& o = context_.options;
  json::object labels{{"kubernetes.io/hostname", str(o.node_name)}, {"kubernetes.io/os", "linux"}, {"kubernetes.io/arch", str(machine_arch())},
                      {"beta.kubernetes.io/os", "linux"}, {"beta.kubernetes.io/arch", str(machine_arch())}};
  for (const auto& [k, v] : o.labels) labels[json::key(k)] = str(v);
  json::object annotations;
  for (const auto& [k, v] : o.annotations) annotations[json::key(k)] = str(v);
  json::array taints;
  for (const std::string& t : o.taints) {
    size_t colon = t.rfind(':'), eq = t.find('=');
    if (colon == std::string::npos) return fail(Status::bad_request("taint \"" + t + "\" is not key=value:Effect"));
    std::string key = t.substr(0, std::min(eq, colon)), value = eq < colon ? t.substr(eq + 1, colon - eq - 1) : "";
    taints.push_back(json::object{{"key", str(key)}, {"value", str(value)}, {"effect", str(t.substr(colon + 1))}});
  }
  auto existing = context_.client.get(kNodes, "", o.node_name);
  if (!existing && !existing.error().is_not_found()) return fail(existing.error());
  if (!existing) {
    json::object spec;
    if (!taints.empty()) spec["taints"] = taints;
    json::object node{{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", json::object{{"name", str(o.node_name)}, {"labels", labels}, {"annotations", annotations}}},
                      {"spec", std::move(spec)}, {"status", desired_status()}};
    auto made = context_.client.create(kNodes, "", node);
    if (!made && !made.error().is_conflict()) return fail(made.error());
    if (made) uid_ = (*made)->uid();
  } else {
    uid_ = (*existing)->uid();
    last_conditions_ = json::value(json::get_array(json::at(&(*existing)->value(), {"status", "conditions"})));
    json::object patch{{"metadata", json::object{{"labels", labels}, {"annotations", annotations}}}};
    if (auto r = context_.client.patch(kNodes, "", o.node_name, client::PatchType::merge, patch); !r) return fail(r.error());
  }
  return write_status();
}

Result<void> NodeStatus::write_status() {
  json::object patch{{"status", desired_status()}};
  auto r = context_.client.patch(kNodes, "", context_.options.node_name, client::PatchType::merge, patch, "status");
  if (!r) return fail(r.error());
  uid_ = (*r)->uid();
  std::lock_guard lock(mutex_);
  ready_ = network_ready_;
  return {};
}

void NodeStatus::set_network_ready(bool ready, std::string why) {
  {
    std::lock_guard lock(mutex_);
    if (network_ready_ == ready && network_message_ == why) return;
    network_ready_ = ready;
    network_message_ = std::move(why);
  }
  if (!uid_.empty()) schedule_status(Duration::zero());
}

void NodeStatus::schedule_status(Duration delay) {
  std::lock_guard lock(timers_);
  if (stopped_) return;
  context_.clock.cancel(status_timer_);
  status_timer_ = context_.clock.schedule(delay, [this] {
    executor_.submit([this] {
      auto r = write_status();
      // A node that was deleted by hand comes back.
      if (!r && r.error().is_not_found()) r = register_node();
      if (!r) log::warn("kubelet", "cannot write node status", {{"error", r.error()}});
      schedule_status(r ? kReport : kRetry);
    });
  });
}

void NodeStatus::schedule_lease(Duration delay) {
  std::lock_guard lock(timers_);
  if (stopped_) return;
  lease_timer_ = context_.clock.schedule(delay, [this] { executor_.submit([this] { renew_lease(); }); });
}

void NodeStatus::renew_lease() {
  const std::string& name = context_.options.node_name;
  json::object spec{{"holderIdentity", str(name)}, {"leaseDurationSeconds", kLeaseSeconds}, {"renewTime", str(format_micro_time(context_.clock.now()))}};
  auto r = context_.client.patch(kLeases, "kube-node-lease", name, client::PatchType::merge, json::object{{"spec", spec}});
  if (!r && r.error().is_not_found()) {
    json::object lease{{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"},
                       {"metadata", json::object{{"name", str(name)}, {"namespace", "kube-node-lease"},
                                                 {"ownerReferences", json::array{json::object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", str(name)}, {"uid", str(uid_)}}}}}},
                       {"spec", spec}};
    r = context_.client.create(kLeases, "kube-node-lease", lease);
  }
  if (!r) log::warn("kubelet", "cannot renew the node's lease", {{"error", r.error()}});
  schedule_lease(r ? kRenew : kRetry);
  if (!r) return;
  // Whoever was not heard of for a while may have been given up as lost: our status says that we are back.
  SteadyTime now = context_.clock.steady_now();
  if (last_renewal_ != SteadyTime{} && now - last_renewal_ > 2 * kRenew) schedule_status(Duration::zero());
  last_renewal_ = now;
}

}  // namespace kcube::kubelet
