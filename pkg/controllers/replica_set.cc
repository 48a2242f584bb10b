// ReplicaSets and ReplicationControllers: as many pods as spec.replicas says, from spec.template.
#include <algorithm>
#include <map>

#include "pkg/base/log.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kPods;

// What differs between the two kinds.
struct Flavor {
  client::GroupVersionResource resource;
  std::string kind, name;
  bool map_selector;      // spec.selector is a plain map
  bool terminating;       // status.terminatingReplicas exists
};

// A pod can wait on node failures and such; one sync makes no more than this many.
constexpr int64_t kBurst = 500;

class ReplicaSetController final : public Controller {
 public:
  ReplicaSetController(Context context, Flavor flavor)
      : Controller(context, flavor.name), flavor_(std::move(flavor)), expectations_(context.clock),
        recorder_(context.client, context.clock, flavor_.name + "-controller"), control_(context.client, recorder_, expectations_),
        pods_(context.informers.informer(kPods)), sets_(follow_own(flavor_.resource)) {
    index_by_controller(pods_);
    index_by_controller(sets_);
    pods_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) { pod_changed(before, now); },
                        .removed = [this](const api::ObjectPtr& last) { pod_removed(last); }});
  }

 private:
  api::LabelSelector selector_of(const json::value& set) const {
    const json::value* selector = json::at(&set, {"spec", "selector"});
    if (flavor_.map_selector) {
      auto s = api::LabelSelector::from_map(selector);
      return s.everything() ? api::LabelSelector::nothing() : s;
    }
    auto s = api::LabelSelector::from_json(selector);
    return s && !s->everything() ? *s : api::LabelSelector::nothing();
  }

  std::string owner_key(const api::Object& pod) const {
    api::OwnerReference owner = api::controller_of(pod.value());
    return owner.kind == flavor_.kind ? api::object_key(pod.namespace_(), owner.name) : std::string();
  }

  void pod_changed(const api::ObjectPtr& before, const api::ObjectPtr& now) {
    std::string key = owner_key(*now);
    if (before) {
      std::string old = owner_key(*before);
      if (!old.empty() && old != key) enqueue(old);
    }
    if (!key.empty()) {
      if (!before) expectations_.creation_observed(key);
      if (now->deleting()) expectations_.deletion_observed(key, now->uid());
      enqueue(key);
      return;
    }
    if (now->deleting() || !api::controller_of(now->value()).uid.empty()) return;
    if (before && before->labels() == now->labels() && api::controller_of(before->value()).uid.empty()) return;
    for (const api::ObjectPtr& set : sets_.list(now->namespace_()))
      if (selector_of(set->value()).matches(now->labels())) enqueue(set->key());
  }

  void pod_removed(const api::ObjectPtr& last) {
    std::string key = owner_key(*last);
    if (key.empty()) return;
    expectations_.deletion_observed(key, last->uid());
    enqueue(key);
  }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr set = sets_.get(key);
    if (!set) {
      expectations_.forget(key);
      return {};
    }
    bool act = expectations_.satisfied(key);
    auto mine = claim_children(client_, pods_, kPods, *set, flavor_.resource, selector_of(set->value()));
    if (!mine) return fail(mine.error());
    std::vector<api::ObjectPtr> active, terminating;
    for (const api::ObjectPtr& pod : *mine) {
      if (pod_active(*pod)) active.push_back(pod);
      else if (pod_terminating(*pod)) terminating.push_back(pod);
    }
    Result<void> managed;
    std::string failure;
    if (act && !set->deleting()) {
      managed = manage(key, *set, active);
      int64_t diff = static_cast<int64_t>(active.size()) - wanted(*set);
      if (!managed) failure = diff < 0 ? "FailedCreate" : "FailedDelete";
    }
    auto written = write_status(key, *set, active, terminating.size(), failure, managed ? "" : managed.error().message());
    return managed ? written : managed;
  }

  int64_t wanted(const api::Object& set) const { return json::get_int(set.value(), {"spec", "replicas"}, 1); }

  Result<void> manage(const std::string& key, const api::Object& set, std::vector<api::ObjectPtr>& active) {
    int64_t diff = static_cast<int64_t>(active.size()) - wanted(set);
    if (diff < 0) {
      const json::value* pod_template = json::at(&set.value(), {"spec", "template"});
      if (pod_template == nullptr) return {};
      json::object pod = pod_from_template(*pod_template, set.value());
      return control_.create_batch(key, set.value(), std::min(-diff, kBurst), [&](size_t) { return pod; });
    }
    if (diff == 0) return {};
    diff = std::min(diff, kBurst);
    if (diff < static_cast<int64_t>(active.size())) {
      auto on_node = siblings_by_node(set, active);
      sort_for_deletion(active, [&](const api::Object& pod) { return on_node[std::string(pod_node(pod))]; }, clock_.now());
    }
    std::vector<api::ObjectPtr> going(active.begin(), active.begin() + diff);
    return control_.remove(key, set.value(), going);
  }

  // How many active pods of this set, or of other sets of the same owner (a rollout), run on each node.
  std::map<std::string, int> siblings_by_node(const api::Object& set, const std::vector<api::ObjectPtr>& active) const {
    std::map<std::string, int> count;
    auto add = [&](const api::ObjectPtr& pod) {
      if (pod_active(*pod)) ++count[std::string(pod_node(*pod))];
    };
    api::OwnerReference parent = api::controller_of(set.value());
    if (parent.uid.empty()) {
      for (const auto& pod : active) add(pod);
      return count;
    }
    for (const api::ObjectPtr& sibling : controlled_by(sets_, parent.uid))
      for (const api::ObjectPtr& pod : controlled_by(pods_, sibling->uid())) add(pod);
    return count;
  }

  // The message of a failed create has another generated name each time: writing it would bring us back at once, for ever.
  static bool said_already(const json::value& set, const std::string& failure) {
    const json::value* c = find_condition(set, "ReplicaFailure");
    return c != nullptr && json::get_string(*c, {"status"}) == "True" && json::get_string(*c, {"reason"}) == failure;
  }

  Result<void> write_status(const std::string& key, const api::Object& set, const std::vector<api::ObjectPtr>& active, size_t terminating,
                            const std::string& failure, const std::string& message) {
    const json::value& value = set.value();
    auto template_labels = api::LabelSelector::from_map(json::at(&value, {"spec", "template", "metadata", "labels"}));
    std::chrono::seconds min_ready(json::get_int(value, {"spec", "minReadySeconds"}));
    int64_t labeled = 0, ready = 0, available = 0;
    Duration wait = Duration::max();
    for (const api::ObjectPtr& pod : active) {
      labeled += template_labels.matches(pod->labels());
      ready += pod_ready(*pod);
      available += pod_available(*pod, min_ready, clock_.now(), &wait);
    }
    if (wait != Duration::max()) enqueue_after(key, wait);
    json::object status{{"replicas", active.size()}, {"fullyLabeledReplicas", labeled}, {"readyReplicas", ready},
                        {"availableReplicas", available}, {"observedGeneration", json::get_int(value, {"metadata", "generation"})}};
    if (flavor_.terminating) status["terminatingReplicas"] = terminating;
    for (const char* name : {"fullyLabeledReplicas", "readyReplicas", "availableReplicas"})
      if (status[name].to_number<int64_t>() == 0) status.erase(name);
    json::array conditions = json::get_array(json::at(&value, {"status", "conditions"}));
    if (failure.empty()) remove_condition(conditions, "ReplicaFailure");
    else if (!said_already(value, failure)) set_condition(conditions, {"ReplicaFailure", "True", failure, message}, clock_.now());
    if (!conditions.empty()) status["conditions"] = std::move(conditions);
    return update_status(client_, flavor_.resource, set, std::move(status));
  }

  const Flavor flavor_;
  Expectations expectations_;
  client::EventRecorder recorder_;
  PodControl control_;
  client::Informer& pods_;
  client::Informer& sets_;
};

}  // namespace

ControllerPtr make_replica_set_controller(Context context) {
  return std::make_unique<ReplicaSetController>(context, Flavor{client::resources::kReplicaSets, "ReplicaSet", "replicaset", false, true});
}

ControllerPtr make_replication_controller(Context context) {
  return std::make_unique<ReplicaSetController>(
      context, Flavor{client::resources::kReplicationControllers, "ReplicationController", "replication", true, false});
}

}  // namespace kcube::controllers
