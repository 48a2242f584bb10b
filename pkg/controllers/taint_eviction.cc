// Evicts pods from nodes with NoExecute taints: at once, or after the tolerationSeconds of those that tolerate them.
#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"
#include "pkg/controllers/taints.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

const json::array& taints_of(const api::Object& node) { return json::get_array(json::at(&node.value(), {"spec", "taints"})); }
const json::array& tolerations_of(const api::Object& pod) { return json::get_array(json::at(&pod.value(), {"spec", "tolerations"})); }

// How long the pod may stay under the node's NoExecute taints; nullopt for ever.
std::optional<std::chrono::seconds> may_stay(const json::array& taints, const json::array& tolerations) {
  if (untolerated(taints, tolerations, {"NoExecute"}) != nullptr) return std::chrono::seconds(0);
  std::optional<std::chrono::seconds> shortest;
  for (const json::value& taint : taints) {
    if (json::get_string(taint, {"effect"}) != "NoExecute") continue;
    auto used = std::ranges::find_if(tolerations, [&](const json::value& t) { return tolerates(t, taint); });
    if (!has(*used, {"tolerationSeconds"})) continue;
    std::chrono::seconds limit(std::max<int64_t>(0, json::get_int(*used, {"tolerationSeconds"})));
    if (!shortest || limit < *shortest) shortest = limit;
  }
  return shortest;
}

// Keys are names of nodes.
class TaintEvictionController final : public Controller {
 public:
  explicit TaintEvictionController(Context context)
      : Controller(context, "taint-eviction-controller"), recorder_(context.client, context.clock, "taint-eviction-controller"),
        nodes_(context.informers.informer(kNodes)), pods_(context.informers.informer(kPods)) {
    nodes_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
      if (before ? taints_of(*before) != taints_of(*now) : !taints_of(*now).empty()) enqueue(std::string(now->name()));
    }});
    pods_.add_index("node", [](const api::Object& pod) { return std::vector<std::string>{std::string(pod_node(pod))}; });
    pods_.add_handlers({.changed =
                            [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                              bool same = before && pod_node(*before) == pod_node(*now) && tolerations_of(*before) == tolerations_of(*now);
                              if (!same && !pod_node(*now).empty()) enqueue(std::string(pod_node(*now)));
                            },
                        .removed =
                            [this](const api::ObjectPtr& last) {
                              std::lock_guard lock(mutex_);
                              since_.erase(std::string(last->uid()));
                            }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr node = nodes_.get(key);
    if (!node) return {};
    Duration next = Duration::max();
    for (const auto& pod : pods_.by_index("node", key)) {
      if (pod->deleting()) continue;
      auto limit = may_stay(taints_of(*node), tolerations_of(*pod));
      if (!limit) {
        cancel(*pod);
        continue;
      }
      Duration left = first_seen(*pod) + *limit - clock_.steady_now();
      if (left > Duration::zero()) next = std::min(next, left);
      else if (auto r = evict(*pod); !r) return r;
    }
    if (next != Duration::max()) enqueue_after(key, next);
    return {};
  }

  SteadyTime first_seen(const api::Object& pod) {
    std::lock_guard lock(mutex_);
    return since_.try_emplace(std::string(pod.uid()), clock_.steady_now()).first->second;
  }

  void cancel(const api::Object& pod) {
    {
      std::lock_guard lock(mutex_);
      if (since_.erase(std::string(pod.uid())) == 0) return;
    }
    recorder_.event(pod.value(), "Normal", "TaintManagerEviction", "Cancelling deletion of Pod " + pod.key());
  }

  Result<void> evict(const api::Object& pod) {
    recorder_.event(pod.value(), "Normal", "TaintManagerEviction", "Marking for deletion Pod " + pod.key());
    json::value status = json::find(&pod.value(), "status") ? *json::find(&pod.value(), "status") : json::value(json::object());
    set_condition(json::ensure_array(status.as_object(), "conditions"),
                  {"DisruptionTarget", "True", "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"}, clock_.now());
    if (auto r = update_status(client_, kPods, pod, std::move(status)); !r) return r;
    auto r = client_.remove(kPods, pod.namespace_(), pod.name(), {.uid = std::string(pod.uid())});
    return r || r.error().is_not_found() ? Result<void>() : r;
  }

  client::EventRecorder recorder_;
  client::Informer& nodes_;
  client::Informer& pods_;
  std::mutex mutex_;
  std::map<std::string, SteadyTime> since_;   // pod uid: when it was first under a taint that ends its stay
};

}  // namespace

ControllerPtr make_taint_eviction_controller(Context context) { return std::make_unique<TaintEvictionController>(context); }

}  // namespace kcube::controllers
