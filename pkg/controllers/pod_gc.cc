// Pods that nobody else takes away: those on nodes that are gone, those deleted before they had a node, and finished
// ones beyond a bound.
#include <algorithm>

#include "pkg/base/log.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr size_t kFinishedBound = 12500;
constexpr auto kPeriod = std::chrono::seconds(20);
// A node that vanished may only be re-registering.
constexpr auto kQuarantine = std::chrono::seconds(40);
constexpr const char* kAll = "#finished";

// A person has said that this node will not come back with its pods (shut down, broken).
bool out_of_service(const api::Object& node) {
  const json::array& taints = json::get_array(json::at(&node.value(), {"spec", "taints"}));
  return !condition_is(node.value(), "Ready") &&
         std::ranges::any_of(taints, [](const json::value& t) { return json::get_string(t, {"key"}) == "node.kubernetes.io/out-of-service"; });
}

class PodGarbageCollector final : public Controller {
 public:
  explicit PodGarbageCollector(Context context)
      : Controller(context, "pod-garbage-collector", 1), pods_(context.informers.informer(kPods)), nodes_(context.informers.informer(kNodes)) {
    pods_.add_index("node", [](const api::Object& pod) { return std::vector<std::string>{std::string(pod_node(pod))}; });
    pods_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
      bool unbound = now->deleting() && pod_node(*now).empty();
      bool strange = !pod_node(*now).empty() && !nodes_.get(pod_node(*now)) && (!before || pod_node(*before).empty());
      if (unbound) enqueue("pod/" + now->key());
      if (now->deleting() && !pod_node(*now).empty())
        if (auto node = nodes_.get(pod_node(*now)); node && out_of_service(*node)) enqueue("node/" + std::string(node->name()));
      if (strange) enqueue_after("node/" + std::string(pod_node(*now)), kQuarantine);
      if (pod_finished(*now) && (!before || !pod_finished(*before)) && pods_.size() > kFinishedBound) enqueue_after(kAll, kPeriod);
    }});
    nodes_.add_handlers({.changed =
                             [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
                               if (out_of_service(*now)) enqueue("node/" + std::string(now->name()));
                             },
                         .removed = [this](const api::ObjectPtr& last) { enqueue_after("node/" + std::string(last->name()), kQuarantine); }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    if (key == kAll) return trim_finished();
    if (key.starts_with("node/")) return clear_node(key.substr(5));
    api::ObjectPtr pod = pods_.get(key.substr(4));
    if (!pod || !pod->deleting() || !pod_node(*pod).empty()) return {};
    return remove(*pod, "");
  }

  Result<void> clear_node(const std::string& name) {
    if (api::ObjectPtr node = nodes_.get(name)) {
      if (!out_of_service(*node)) return {};
      for (const auto& pod : pods_.by_index("node", name))
        if (pod->deleting())
          if (auto r = remove(*pod, "PodGC: node out-of-service"); !r) return r;
      return {};
    }
    auto live = client_.get(kNodes, "", name);
    if (live) return {};
    if (!live.error().is_not_found()) return fail(live.error());
    for (const auto& pod : pods_.by_index("node", name))
      if (auto r = remove(*pod, "PodGC: node no longer exists"); !r) return r;
    return {};
  }

  // The oldest go first.
  Result<void> trim_finished() {
    std::vector<api::ObjectPtr> finished;
    for (const auto& pod : pods_.list())
      if (pod_finished(*pod) && !pod->deleting()) finished.push_back(pod);
    if (finished.size() <= kFinishedBound) return {};
    std::ranges::sort(finished, {}, [](const auto& pod) { return creation_time(pod->value()); });
    finished.resize(finished.size() - kFinishedBound);
    for (const auto& pod : finished)
      if (auto r = remove(*pod, ""); !r) return r;
    return {};
  }

  // With `message`, the pod is first told that it was disrupted; one that still ran has failed.
  Result<void> remove(const api::Object& pod, std::string_view message) {
    if (!pod_finished(pod)) {
      json::value status = json::find(&pod.value(), "status") ? *json::find(&pod.value(), "status") : json::value(json::object());
      json::object& o = status.as_object();
      o["phase"] = "Failed";
      if (!message.empty()) set_condition(json::ensure_array(o, "conditions"), {"DisruptionTarget", "True", "DeletionByPodGC", message}, clock_.now());
      if (auto r = update_status(client_, kPods, pod, std::move(status)); !r) return r;
    }
    auto r = client_.remove(kPods, pod.namespace_(), pod.name(), {.uid = std::string(pod.uid()), .grace_period_seconds = 0});
    if (!r && !r.error().is_not_found()) return r;
    log::info("pod-garbage-collector", "removed a pod", {{"pod", pod.key()}});
    return {};
  }

  client::Informer& pods_;
  client::Informer& nodes_;
};

}  // namespace

ControllerPtr make_pod_garbage_collector(Context context) { return std::make_unique<PodGarbageCollector>(context); }

}  // namespace kcube::controllers
