// DaemonSets: one pod on every node that fits, and their update node by node.
#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/node_affinity.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/revisions.h"
#include "pkg/controllers/support.h"
#include "pkg/controllers/taints.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;
using Pods = std::vector<api::ObjectPtr>;

constexpr size_t kBurst = 250;
constexpr auto kFirstBackOff = std::chrono::seconds(1), kLastBackOff = std::chrono::seconds(15 * 60);

// Where a pod runs, or is pinned to by its affinity while the scheduler has not bound it.
std::string target_node(const api::Object& pod) {
  if (!pod_node(pod).empty()) return std::string(pod_node(pod));
  for (const json::value& term : json::get_array(json::at(
           &pod.value(), {"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"})))
    for (const json::value& field : json::get_array(json::find(&term, "matchFields")))
      if (json::get_string(field, {"key"}) == "metadata.name")
        if (const auto& values = json::get_array(json::find(&field, "values")); !values.empty()) return std::string(json::get_string(&values.front()));
  return {};
}

// Daemons run where others may not: that is what they are for.
void add_tolerations(json::object& spec) {
  json::array& tolerations = json::ensure_array(spec, "tolerations");
  auto add = [&](std::string_view key, std::string_view effect) {
    json::object wanted{{"key", text(key)}, {"operator", "Exists"}, {"effect", text(effect)}};
    for (const json::value& t : tolerations)
      if (t == json::value(wanted)) return;
    tolerations.push_back(std::move(wanted));
  };
  add(kTaintNotReady, "NoExecute");
  add(kTaintUnreachable, "NoExecute");
  add(kTaintDisk, "NoSchedule");
  add(kTaintMemory, "NoSchedule");
  add(kTaintPid, "NoSchedule");
  add(kTaintUnschedulable, "NoSchedule");
  if (json::get_bool(spec.if_contains("hostNetwork"))) add(kTaintNetwork, "NoSchedule");
}

// What one reconcile works on.
struct Sync {
  api::ObjectPtr set;
  std::string key, hash;
  std::chrono::seconds min_ready{0};
  int64_t surge = 0, unavailable = 1;
  std::map<std::string, Pods> by_node;
  Pods stray;                               // pinned to nodes that do not exist
  std::vector<std::string> create_on;
  Pods remove;

  bool is_new(const api::Object& pod) const { return pod.label(kRevisionHash) == hash; }
};

class DaemonSetController final : public Controller {
 public:
  explicit DaemonSetController(Context context)
      : Controller(context, "daemonset"), expectations_(context.clock), recorder_(context.client, context.clock, "daemonset-controller"),
        control_(context.client, recorder_, expectations_), sets_(follow_own(kDaemonSets)), pods_(context.informers.informer(kPods)),
        nodes_(context.informers.informer(kNodes)), revision_informer_(follow_owned(kControllerRevisions, "DaemonSet")),
        revisions_(context.client, revision_informer_, kDaemonSets) {
    index_by_controller(pods_);
    index_by_controller(revision_informer_);
    pods_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) { pod_changed(before, now); },
                        .removed =
                            [this](const api::ObjectPtr& last) {
                              std::string key = owner_key(*last);
                              if (key.empty()) return;
                              expectations_.deletion_observed(key, last->uid());
                              enqueue(key);
                            }});
    nodes_.add_handlers({.changed =
                             [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                               if (before && before->labels() == now->labels() &&
                                   equivalent(json::at(&before->value(), {"spec", "taints"}), json::at(&now->value(), {"spec", "taints"})))
                                 return;
                               for (const auto& set : sets_.list()) enqueue(set->key());
                             },
                         .removed =
                             [this](const api::ObjectPtr&) {
                               for (const auto& set : sets_.list()) enqueue(set->key());
                             }});
  }

 private:
  static std::string owner_key(const api::Object& pod) {
    api::OwnerReference owner = api::controller_of(pod.value());
    return owner.kind == "DaemonSet" ? api::object_key(pod.namespace_(), owner.name) : std::string();
  }

  void pod_changed(const api::ObjectPtr& before, const api::ObjectPtr& now) {
    std::string key = owner_key(*now);
    if (!key.empty()) {
      if (!before) expectations_.creation_observed(key);
      if (now->deleting()) expectations_.deletion_observed(key, now->uid());
      enqueue(key);
    } else if (before && !owner_key(*before).empty()) {
      enqueue(owner_key(*before));
    } else if (!now->deleting() && api::controller_of(now->value()).uid.empty()) {
      for (const auto& set : sets_.list(now->namespace_())) {
        auto selector = api::LabelSelector::from_json(json::at(&set->value(), {"spec", "selector"}));
        if (selector && !selector->everything() && selector->matches(now->labels())) enqueue(set->key());
      }
    }
  }

  Result<void> reconcile(const std::string& key) override {
    Sync sync{sets_.get(key), key};
    if (!sync.set) {
      expectations_.forget(key);
      std::lock_guard lock(mutex_);
      std::erase_if(back_off_, [&](const auto& entry) { return entry.first.starts_with(key + "@"); });
      return {};
    }
    const json::value& value = sync.set->value();
    auto selector = api::LabelSelector::from_json(json::at(&value, {"spec", "selector"}));
    if (!selector || selector->everything()) {
      recorder_.event(value, "Warning", "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.");
      return {};
    }
    if (sync.set->deleting()) return {};
    auto history = revisions_.sync(*sync.set);
    if (!history) return fail(history.error());
    sync.hash = history->current->label(kRevisionHash);
    sync.min_ready = std::chrono::seconds(json::get_int(value, {"spec", "minReadySeconds"}));
    bool act = expectations_.satisfied(key);
    auto claimed = claim_children(client_, pods_, kPods, *sync.set, kDaemonSets, *selector);
    if (!claimed) return fail(claimed.error());
    for (const auto& pod : *claimed) {
      std::string node = target_node(*pod);
      if (nodes_.get(node)) sync.by_node[node].push_back(pod);
      else if (!pod->deleting() && pod_node(*pod).empty()) sync.stray.push_back(pod);
    }
    Result<void> acted;
    if (act) acted = manage_and_update(sync);
    if (auto written = write_status(sync); !written) return written;
    if (!acted) return acted;
    std::set<std::string> live;
    for (const auto& [node, pods] : sync.by_node)
      for (const auto& pod : pods) live.emplace(pod->label(kRevisionHash));
    return revisions_.truncate(*sync.set, *history, live);
  }

  struct Fit {
    bool run, stay;
  };
  Fit fits(const json::value& set, const api::Object& node) const {
    json::value spec = json::at(&set, {"spec", "template", "spec"}) ? *json::at(&set, {"spec", "template", "spec"}) : json::value(json::object());
    std::string_view pinned = json::get_string(spec, {"nodeName"});
    if ((!pinned.empty() && pinned != node.name()) || !node_selected(spec, node)) return {false, false};
    add_tolerations(spec.as_object());
    const json::array &taints = json::get_array(json::at(&node.value(), {"spec", "taints"})), &tolerations = json::get_array(json::find(&spec, "tolerations"));
    return {untolerated(taints, tolerations, {"NoSchedule", "NoExecute"}) == nullptr, untolerated(taints, tolerations, {"NoExecute"}) == nullptr};
  }

  Result<void> manage_and_update(Sync& sync) {
    const json::value& value = sync.set->value();
    bool rolling = json::get_string(value, {"spec", "updateStrategy", "type"}) != "OnDelete";
    int64_t desired = 0;
    for (const auto& node : nodes_.list()) desired += fits(value, *node).run;
    if (rolling) {
      const json::value* limits = json::at(&value, {"spec", "updateStrategy", "rollingUpdate"});
      sync.surge = resolve_percent(json::find(limits, "maxSurge"), desired, true, 0);
      sync.unavailable = resolve_percent(json::find(limits, "maxUnavailable"), desired, true, 1);
      if (sync.surge == 0 && sync.unavailable == 0) sync.unavailable = 1;
    }
    for (const auto& node : nodes_.list()) manage_node(sync, *node);
    sync.remove.insert(sync.remove.end(), sync.stray.begin(), sync.stray.end());
    bool settled = sync.create_on.empty() && sync.remove.empty();
    if (settled && rolling) sync.surge > 0 ? plan_surge(sync) : plan_rolling(sync);
    return carry_out(sync);
  }

  void manage_node(Sync& sync, const api::Object& node) {
    std::string name(node.name());
    Fit fit = fits(sync.set->value(), node);
    auto it = sync.by_node.find(name);
    if (it == sync.by_node.end()) {
      if (fit.run) sync.create_on.push_back(name);
      return;
    }
    Pods running;
    for (const auto& pod : it->second) {
      if (pod->deleting()) continue;
      if (!fit.stay) sync.remove.push_back(pod);
      else if (!pod_finished(*pod)) running.push_back(pod);
      else replace_finished(sync, *pod, pod, name);
    }
    if (!fit.stay) return;
    // With a surge, the pod that stops on a node does not hold up its successor.
    if (running.empty() && sync.surge > 0 && fit.run && std::ranges::all_of(it->second, [](const auto& p) { return p->deleting(); }))
      sync.create_on.push_back(name);
    std::ranges::sort(running, {}, [](const auto& p) { return std::tuple(pod_node(*p).empty(), creation_time(p->value()), p->name()); });
    bool kept_new = false, kept_old = false;
    for (const auto& pod : running) {
      bool& kept = sync.surge > 0 && sync.is_new(*pod) ? kept_new : kept_old;
      if (kept) sync.remove.push_back(pod);
      kept = true;
    }
  }

  // A daemon that ended is replaced, the faster it ends the slower.
  void replace_finished(Sync& sync, const api::Object& pod, const api::ObjectPtr& pointer, const std::string& node) {
    bool failed = pod_phase(pod) == "Failed";
    if (failed) {
      std::lock_guard lock(mutex_);
      BackOffState& state = back_off_[sync.key + "@" + node];
      SteadyTime now = clock_.steady_now();
      if (state.next > now) {
        enqueue_after(sync.key, state.next - now);
        return;
      }
      if (state.delay.count() > 0 && now - state.next > 2 * kLastBackOff) state.delay = {};
      state.delay = state.delay.count() == 0 ? Duration(kFirstBackOff) : std::min<Duration>(kLastBackOff, state.delay * 2);
      state.next = now + state.delay;
    }
    recorder_.event(sync.set->value(), failed ? "Warning" : "Normal", failed ? "FailedDaemonPod" : "SucceededDaemonPod",
                    std::string("Found ") + (failed ? "failed" : "succeeded") + " daemon pod " + pod.key() + " on node " + node + ", will try to " +
                        (failed ? "kill" : "delete") + " it");
    sync.remove.push_back(pointer);
  }

  // The live pods of a node: of this template and of an older one.
  static std::pair<api::ObjectPtr, api::ObjectPtr> new_and_old(const Sync& sync, const Pods& pods) {
    api::ObjectPtr now, old;
    for (const auto& pod : pods)
      if (!pod->deleting()) (sync.is_new(*pod) ? now : old) = pod;
    return {now, old};
  }

  bool available(const Sync& sync, const api::Object& pod) {
    Duration wait = Duration::max();
    bool is = pod_available(pod, sync.min_ready, clock_.now(), &wait);
    if (wait != Duration::max()) enqueue_after(sync.key, wait);
    return is;
  }

  void plan_rolling(Sync& sync) {
    int64_t unavailable = 0;
    Pods broken, candidates;
    for (const auto& node : nodes_.list()) {
      if (!fits(sync.set->value(), *node).run) continue;
      auto it = sync.by_node.find(std::string(node->name()));
      auto [now, old] = it == sync.by_node.end() ? std::pair<api::ObjectPtr, api::ObjectPtr>() : new_and_old(sync, it->second);
      if (now) {
        unavailable += !available(sync, *now);
      } else if (!old) {
        ++unavailable;
      } else if (!available(sync, *old)) {
        ++unavailable;
        broken.push_back(old);
      } else {
        candidates.push_back(old);
      }
    }
    sync.remove = broken;
    for (const auto& pod : candidates)
      if (unavailable++ < sync.unavailable) sync.remove.push_back(pod);
  }

  void plan_surge(Sync& sync) {
    int64_t surging = 0;
    std::vector<std::string> candidates;
    for (const auto& [node, pods] : sync.by_node) {
      auto [now, old] = new_and_old(sync, pods);
      if (!old) continue;
      if (now && available(sync, *now)) sync.remove.push_back(old);
      else if (now) ++surging;
      else if (!available(sync, *old)) sync.create_on.push_back(node);
      else candidates.push_back(node);
    }
    for (const auto& node : candidates)
      if (surging++ < sync.surge) sync.create_on.push_back(node);
  }

  Result<void> carry_out(Sync& sync) {
    const json::value& value = sync.set->value();
    Result<void> result;
    if (!sync.remove.empty()) {
      if (sync.remove.size() > kBurst) sync.remove.resize(kBurst);
      result = control_.remove(sync.key, value, sync.remove);
    }
    if (sync.create_on.size() > kBurst) sync.create_on.resize(kBurst);
    if (!sync.create_on.empty()) {
      auto made = control_.create_batch(sync.key, value, sync.create_on.size(), [&](size_t i) { return make_pod(sync, sync.create_on[i]); });
      if (!made) result = made;
    }
    return result;
  }

  static json::object make_pod(const Sync& sync, const std::string& node) {
    const json::value& value = sync.set->value();
    json::value pod(pod_from_template(*json::at(&value, {"spec", "template"}), value));
    json::object& labels = json::ensure_path(pod, {"metadata", "labels"});
    labels[kRevisionHash] = text(sync.hash);
    if (std::string generation = string_at(value, {"metadata", "annotations", "deprecated.daemonset.template.generation"}); !generation.empty())
      labels["pod-template-generation"] = text(generation);
    json::object& spec = json::ensure_path(pod, {"spec"});
    add_tolerations(spec);
    json::object field{{"key", "metadata.name"}, {"operator", "In"}, {"values", json::array{text(node)}}};
    json::object term{{"matchFields", json::array{std::move(field)}}};
    json::ensure_path(pod, {"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"})["nodeSelectorTerms"] = json::array{std::move(term)};
    return std::move(pod.as_object());
  }

  Result<void> write_status(const Sync& sync) {
    const json::value& value = sync.set->value();
    int64_t desired = 0, current = 0, misscheduled = 0, ready = 0, updated = 0, n_available = 0;
    for (const auto& node : nodes_.list()) {
      auto it = sync.by_node.find(std::string(node->name()));
      bool has_pods = it != sync.by_node.end();
      if (!fits(value, *node).run) {
        misscheduled += has_pods;
        continue;
      }
      ++desired;
      if (!has_pods) continue;
      ++current;
      bool is_ready = false, is_available = false, is_updated = false;
      for (const auto& pod : it->second) {
        if (pod->deleting()) continue;
        is_ready |= pod_ready(*pod);
        is_available |= available(sync, *pod);
        is_updated |= sync.is_new(*pod);
      }
      ready += is_ready;
      n_available += is_available;
      updated += is_updated;
    }
    json::object status{{"currentNumberScheduled", current}, {"numberMisscheduled", misscheduled}, {"desiredNumberScheduled", desired},
                        {"numberReady", ready}, {"observedGeneration", json::get_int(value, {"metadata", "generation"})}};
    for (auto [name, count] : {std::pair("updatedNumberScheduled", updated), {"numberAvailable", n_available}, {"numberUnavailable", desired - n_available}})
      if (count != 0) status[name] = count;
    for (const char* kept : {"collisionCount", "conditions"})
      if (const json::value* v = json::at(&value, {"status", kept})) status[kept] = *v;
    return update_status(client_, kDaemonSets, *sync.set, json::value(std::move(status)));
  }

  struct BackOffState {
    SteadyTime next{};
    Duration delay{};
  };
  Expectations expectations_;
  client::EventRecorder recorder_;
  PodControl control_;
  client::Informer& sets_;
  client::Informer& pods_;
  client::Informer& nodes_;
  client::Informer& revision_informer_;
  Revisions revisions_;
  std::mutex mutex_;
  std::map<std::string, BackOffState> back_off_;   // "ns/name@node"
};

}  // namespace

ControllerPtr make_daemon_set_controller(Context context) { return std::make_unique<DaemonSetController>(context); }

}  // namespace kcube::controllers
