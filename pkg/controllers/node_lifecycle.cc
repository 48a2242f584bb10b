// Nodes that fall silent: their conditions become Unknown, their pods not ready; and the taints that tell the scheduler
// and the eviction what the conditions say. The life sign is a renewed Lease or a posted status, by this process's own
// clock, so that clocks may differ.
#include <algorithm>
#include <map>
#include <mutex>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"
#include "pkg/controllers/taints.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

// A node that has just registered may need longer for its first status.
constexpr auto kStartupGrace = std::chrono::seconds(60);
constexpr std::string_view kConditions[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};

std::string heartbeat(const api::Object& node) {
  const json::value* ready = find_condition(node.value(), "Ready");
  return ready ? string_at(*ready, {"lastHeartbeatTime"}) : "";
}
std::string ready_status(const api::Object& node) {
  const json::value* ready = find_condition(node.value(), "Ready");
  return ready ? string_at(*ready, {"status"}) : "";
}

bool is_ours(const json::value& taint) {
  std::string_view key = json::get_string(taint, {"key"}), effect = json::get_string(taint, {"effect"});
  bool lost = key == kTaintNotReady || key == kTaintUnreachable;
  if (effect == "NoExecute") return lost;
  return effect == "NoSchedule" &&
         (lost || key == kTaintMemory || key == kTaintDisk || key == kTaintPid || key == kTaintNetwork || key == kTaintUnschedulable);
}

class NodeLifecycleController final : public Controller {
 public:
  NodeLifecycleController(Context context, std::chrono::seconds grace)
      : Controller(context, "node-lifecycle-controller", 2), grace_(grace), recorder_(context.client, context.clock, "node-controller"),
        nodes_(context.informers.informer(kNodes)), leases_(context.informers.informer(kLeases, {}, "kube-node-lease")),
        pods_(context.informers.informer(kPods)) {
    pods_.add_index("node", [](const api::Object& pod) { return std::vector<std::string>{std::string(pod_node(pod))}; });
    pods_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
      // Bound to a node that is lost already.
      if (pod_node(*now).empty() || (before && pod_ready(*before) == pod_ready(*now))) return;
      api::ObjectPtr node = nodes_.get(pod_node(*now));
      if (node && ready_status(*node) == "Unknown") enqueue(std::string(pod_node(*now)));
    }});
    leases_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
      if (!before || string_at(before->value(), {"spec", "renewTime"}) != string_at(now->value(), {"spec", "renewTime"}))
        alive(std::string(now->name()));
    }});
    nodes_.add_handlers({.changed =
                             [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                               std::string name(now->name());
                               if (!before || heartbeat(*before) != heartbeat(*now)) alive(name);
                               if (!before) say(*now, "RegisteredNode", "Registered Node " + name + " in Controller");
                               enqueue(name);
                               // Whether anyone is evicted depends on whether all are lost.
                               if (before && ready_status(*before) != ready_status(*now)) enqueue_others(name);
                             },
                         .removed =
                             [this](const api::ObjectPtr& last) {
                               say(*last, "RemovingNode", "Removing Node " + std::string(last->name()) + " from Controller");
                               std::lock_guard lock(mutex_);
                               seen_.erase(std::string(last->name()));
                             }});
  }

 private:
  void say(const api::Object& node, std::string_view reason, const std::string& what) {
    recorder_.event(node.value(), "Normal", reason, "Node " + std::string(node.name()) + " event: " + what);
  }

  void alive(const std::string& node) {
    std::lock_guard lock(mutex_);
    seen_[node] = clock_.steady_now();
  }

  void enqueue_others(const std::string& name) {
    for (const auto& node : nodes_.list())
      if (node->name() != name) enqueue(std::string(node->name()));
  }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr node = nodes_.get(key);
    if (!node || node->deleting()) return {};
    SteadyTime seen;
    {
      std::lock_guard lock(mutex_);
      seen = seen_.try_emplace(key, clock_.steady_now()).first->second;
    }
    Duration grace = ready_status(*node).empty() ? std::max<Duration>(grace_, kStartupGrace) : Duration(grace_);
    Duration left = seen + grace - clock_.steady_now();
    if (left > Duration::zero()) enqueue_after(key, left);
    else if (auto r = mark_unknown(node); !r) return r;
    if (auto r = write_taints(*node); !r) return r;
    return follow_pods(*node);
  }

  // Replaces `node` by what was written.
  Result<void> mark_unknown(api::ObjectPtr& node) {
    json::value next(node->value());
    json::array& conditions = json::ensure_array(json::ensure_path(next, {"status"}), "conditions");
    std::string now = format_time(clock_.now());
    bool was_ready = ready_status(*node) == "True", changed = false;
    for (std::string_view type : kConditions) {
      const json::value* current = find_condition(node->value(), type);
      if (current != nullptr && json::get_string(*current, {"status"}) == "Unknown") continue;
      changed = true;
      json::object c{{"type", text(type)}, {"status", "Unknown"}};
      if (current == nullptr) {
        c["reason"] = "NodeStatusNeverUpdated";
        c["message"] = "Kubelet never posted node status.";
        c["lastHeartbeatTime"] = text(string_at(node->value(), {"metadata", "creationTimestamp"}));
      } else {
        c["reason"] = "NodeStatusUnknown";
        c["message"] = "Kubelet stopped posting node status.";
        c["lastHeartbeatTime"] = text(string_at(*current, {"lastHeartbeatTime"}));
        remove_condition(conditions, type);
      }
      c["lastTransitionTime"] = text(now);
      conditions.push_back(std::move(c));
    }
    if (!changed) return {};
    auto written = client_.update(kNodes, "", node->name(), next, "status");
    if (!written) return fail(written.error());
    node = *written;
    if (was_ready)
      recorder_.event(node->value(), "Normal", "NodeNotReady", "Node " + std::string(node->name()) + " status is now: NodeNotReady");
    return {};
  }

  // Every node is lost: more likely it is our own connection. Nobody is evicted then.
  bool all_lost(const api::Object& self) const {
    if (ready_status(self) == "True") return false;
    return std::ranges::none_of(nodes_.list(), [&](const auto& n) { return n->uid() != self.uid() && ready_status(*n) == "True"; });
  }

  json::array wanted_taints(const api::Object& node) const {
    json::array out;
    auto add = [&](std::string_view key, std::string_view effect) { out.push_back(json::object{{"key", text(key)}, {"effect", text(effect)}}); };
    std::string ready = ready_status(node);
    std::string_view lost = ready == "Unknown" ? kTaintUnreachable : kTaintNotReady;
    if (ready.empty()) {
      // Not heard of yet: what admission gave it stays.
      for (const json::value& t : json::get_array(json::at(&node.value(), {"spec", "taints"})))
        if (json::get_string(t, {"key"}) == kTaintNotReady && json::get_string(t, {"effect"}) == "NoSchedule") out.push_back(t);
    } else if (ready != "True") {
      add(lost, "NoSchedule");
      if (!all_lost(node)) add(lost, "NoExecute");
    }
    for (auto [condition, taint] : {std::pair("MemoryPressure", kTaintMemory), {"DiskPressure", kTaintDisk}, {"PIDPressure", kTaintPid}, {"NetworkUnavailable", kTaintNetwork}})
      if (condition_is(node.value(), condition)) add(taint, "NoSchedule");
    if (json::get_bool(node.value(), {"spec", "unschedulable"})) add(kTaintUnschedulable, "NoSchedule");
    return out;
  }

  Result<void> write_taints(const api::Object& node) {
    const json::array& current = json::get_array(json::at(&node.value(), {"spec", "taints"}));
    auto same = [](const json::value& a, const json::value& b) {
      return json::get_string(a, {"key"}) == json::get_string(b, {"key"}) && json::get_string(a, {"effect"}) == json::get_string(b, {"effect"});
    };
    json::array next;
    json::array wanted = wanted_taints(node);
    bool changed = false;
    for (const json::value& taint : current) {
      bool keep = !is_ours(taint) || std::ranges::any_of(wanted, [&](const json::value& w) { return same(w, taint); });
      changed |= !keep;
      if (keep) next.push_back(taint);
    }
    for (json::value& taint : wanted) {
      if (std::ranges::any_of(current, [&](const json::value& c) { return same(c, taint); })) continue;
      changed = true;
      taint.as_object()["timeAdded"] = text(format_time(clock_.now()));
      next.push_back(std::move(taint));
    }
    if (!changed) return {};
    json::object patch{{"metadata", json::object{{"resourceVersion", text(std::to_string(node.revision()))}}}, {"spec", json::object{{"taints", std::move(next)}}}};
    auto written = client_.patch(kNodes, "", node.name(), client::PatchType::merge, patch);
    if (!written && !written.error().is_not_found()) return fail(written.error());
    return {};
  }

  // Pods of a lost node are not ready, so that no service sends there; they are again when it is back.
  Result<void> follow_pods(const api::Object& node) {
    std::string ready = ready_status(node);
    if (ready.empty() || ready == "False") return {};
    for (const auto& pod : pods_.by_index("node", node.name())) {
      bool set = ready == "True" ? lost_readiness(*pod) : pod_ready(*pod);
      if (!set || pod_finished(*pod)) continue;
      json::value status(*json::find(&pod->value(), "status"));
      json::array& conditions = json::ensure_array(status.as_object(), "conditions");
      set_condition(conditions, {"Ready", ready == "True" ? "True" : "False", "", ""}, clock_.now());
      if (auto r = update_status(client_, kPods, *pod, std::move(status)); !r) return r;
      if (ready != "True") recorder_.event(pod->value(), "Warning", "NodeNotReady", "Node is not ready");
    }
    return {};
  }

  // Not ready although all that makes a pod ready says so: that was us.
  static bool lost_readiness(const api::Object& pod) {
    if (!condition_is(pod.value(), "Ready", "False") || !condition_is(pod.value(), "ContainersReady")) return false;
    if (!string_at(*find_condition(pod.value(), "Ready"), {"reason"}).empty()) return false;
    return std::ranges::all_of(json::get_array(json::at(&pod.value(), {"spec", "readinessGates"})),
                               [&](const json::value& gate) { return condition_is(pod.value(), json::get_string(gate, {"conditionType"})); });
  }

  const std::chrono::seconds grace_;
  client::EventRecorder recorder_;
  client::Informer& nodes_;
  client::Informer& leases_;
  client::Informer& pods_;
  std::mutex mutex_;
  std::map<std::string, SteadyTime> seen_;
};

}  // namespace

ControllerPtr make_node_lifecycle_controller(Context context, const Options& options) {
  return std::make_unique<NodeLifecycleController>(context, options.node_monitor_grace);
}

}  // namespace kcube::controllers
