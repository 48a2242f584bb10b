#include "pkg/kubelet/status_manager.h"

#include <algorithm>
#include <set>

#include "pkg/base/log.h"
#include "pkg/client/informer.h"

namespace kcube::kubelet {
namespace {
constexpr Duration kRetry = std::chrono::seconds(1);

constexpr std::string_view kOwnConditions[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodResizePending", "PodResizeInProgress"};

// As a strategic merge patch, in which lists with a key are merged unless told otherwise. Conditions of others
// (DisruptionTarget, readiness gates) may have been written since the kubelet last saw the pod: the patch leaves them alone.
json::object patch_of(const json::value& whole) {
  json::object status = json::get_object(&whole);
  json::array conditions, order;
  std::set<std::string_view> said;
  for (const json::value& c : json::get_array(status.if_contains("conditions"))) {
    std::string_view type = json::get_string(c, {"type"});
    order.push_back(json::object{{"type", json::key(type)}});
    if (type != "PodScheduled" && !is_kubelet_condition(type)) continue;
    said.insert(type);
    json::object own = c.get_object();
    own["$patch"] = "replace";
    conditions.push_back(std::move(own));
  }
  for (std::string_view type : kOwnConditions)
    if (!said.contains(type)) conditions.push_back(json::object{{"type", json::key(type)}, {"$patch", "delete"}});
  status["conditions"] = std::move(conditions);
  status["$setElementOrder/conditions"] = std::move(order);
  for (const char* name : {"podIPs", "hostIPs"})
    if (json::value* list = status.if_contains(name); list != nullptr && list->is_array()) list->get_array().push_back(json::object{{"$patch", "replace"}});
  return status;
}

}  // namespace

bool is_kubelet_condition(std::string_view type) { return std::ranges::find(kOwnConditions, type) != std::end(kOwnConditions); }

void StatusManager::set(const std::string& ns, const std::string& name, const std::string& uid, json::value status) {
  std::lock_guard lock(mutex_);
  Entry& entry = entries_[uid];
  entry.ns = ns;
  entry.name = name;
  if (!entry.has_pending && entry.sent == status) return;
  entry.pending = std::move(status);
  if (std::exchange(entry.has_pending, true) || entry.sending) return;
  executor_.submit([this, uid] { send(uid); });
}

void StatusManager::send(const std::string& uid) {
  json::object patch;
  std::string ns, name;
  {
    std::lock_guard lock(mutex_);
    auto it = entries_.find(uid);
    if (it == entries_.end() || !it->second.has_pending || it->second.sending) return;
    it->second.sending = true;
    it->second.has_pending = false;
    it->second.sent = it->second.pending;
    ns = it->second.ns;
    name = it->second.name;
    // The uid makes the patch fail when the name belongs to another pod by now.
    patch = {{"metadata", json::object{{"uid", json::key(uid)}}}, {"status", patch_of(it->second.pending)}};
  }
  auto r = client_.patch(client::resources::kPods, ns, name, client::PatchType::strategic, patch, "status");
  std::unique_lock lock(mutex_);
  auto it = entries_.find(uid);
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  entry.sending = false;
  bool gone = !r && (r.error().is_not_found() || r.error().is_conflict() || r.error().code() == 422);
  if (!r && !gone) {
    log::warn("kubelet", "cannot write pod status", {{"pod", ns + "/" + name}, {"error", r.error()}});
    if (!entry.has_pending) entry.pending = entry.sent;
    entry.has_pending = true;
    entry.sent = nullptr;
    clock_.schedule(kRetry, [this, uid] { executor_.submit([this, uid] { send(uid); }); });
  } else if (entry.has_pending) {
    executor_.submit([this, uid] { send(uid); });
  }
  idle_.notify_all();
}

void StatusManager::flush(const std::string& uid) {
  std::unique_lock lock(mutex_);
  // Bounded: an unreachable server must not keep a pod from ending.
  idle_.wait_for(lock, std::chrono::seconds(5), [&] {
    auto it = entries_.find(uid);
    return it == entries_.end() || (!it->second.sending && !it->second.has_pending);
  });
}

void StatusManager::forget(const std::string& uid) {
  std::lock_guard lock(mutex_);
  entries_.erase(uid);
}

void StatusManager::stop() { executor_.stop(); }

}  // namespace kcube::kubelet
