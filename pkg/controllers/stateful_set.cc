// StatefulSets: pods with names that stay, each with its own claims, made and updated in order.
#include <algorithm>
#include <map>
#include <set>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/revisions.h"
#include "pkg/controllers/stateful_set_pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;
using Pods = std::vector<api::ObjectPtr>;

struct Sync {
  api::ObjectPtr object;
  const json::value& value;
  api::ObjectPtr current, update;          // revisions
  std::map<int64_t, api::ObjectPtr> pods;  // ordinals that should be; null where there is none
  Pods condemned;                          // the others, highest ordinal first
  int64_t current_replicas = 0, updated_replicas = 0;
  bool deleting_or_creating = false;

  bool is_update(const api::Object& pod) const { return pod.label(kRevisionHash) == update->name(); }
  bool is_current(const api::Object& pod) const { return pod.label(kRevisionHash) == current->name(); }
};

class StatefulSetController final : public Controller {
 public:
  explicit StatefulSetController(Context context)
      : Controller(context, "statefulset"), recorder_(context.client, context.clock, "statefulset-controller"), sets_(follow_own(kStatefulSets)),
        pods_(follow_owned(kPods, "StatefulSet")), claims_(context.informers.informer(kPersistentVolumeClaims)),
        revision_informer_(follow_owned(kControllerRevisions, "StatefulSet")), revisions_(context.client, revision_informer_, kStatefulSets) {
    index_by_controller(pods_);
    index_by_controller(revision_informer_);
    pods_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
      if (now->deleting() || !api::controller_of(now->value()).uid.empty()) return;
      for (const auto& set : sets_.list(now->namespace_())) {
        auto selector = api::LabelSelector::from_json(json::at(&set->value(), {"spec", "selector"}));
        if (selector && !selector->everything() && selector->matches(now->labels())) enqueue(set->key());
      }
    }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr object = sets_.get(key);
    if (!object) return {};
    const json::value& value = object->value();
    auto selector = api::LabelSelector::from_json(json::at(&value, {"spec", "selector"}));
    if (!selector || selector->everything()) return {};
    auto claimed = claim_children(client_, pods_, kPods, *object, kStatefulSets, *selector);
    if (!claimed) return fail(claimed.error());
    if (object->deleting()) return {};
    auto history = revisions_.sync(*object);
    if (!history) return fail(history.error());
    Sync sync{object, value};
    sync.update = sync.current = history->current;
    std::string before = string_at(value, {"status", "currentRevision"});
    for (const auto& r : history->all)
      if (r->name() == before) sync.current = r;
    sort_pods(sync, *claimed);
    auto acted = act(sync);
    if (auto written = write_status(sync, *claimed); !written) return written;
    if (!acted) return acted;
    std::set<std::string> live{std::string(sync.current->name())};
    for (const auto& pod : *claimed) live.emplace(pod->label(kRevisionHash));
    return revisions_.truncate(*object, *history, live);
  }

  void sort_pods(Sync& sync, const Pods& claimed) {
    int64_t start = stateful::start_ordinal(sync.value);
    for (int64_t i = 0; i < stateful::replicas_of(sync.value); ++i) sync.pods[start + i] = nullptr;
    for (const auto& pod : claimed) {
      int64_t ordinal = stateful::ordinal_of(sync.value, *pod);
      if (ordinal < 0) continue;
      if (auto it = sync.pods.find(ordinal); it != sync.pods.end()) it->second = pod;
      else sync.condemned.push_back(pod);
      if (pod->deleting()) continue;
      sync.current_replicas += sync.is_current(*pod);
      sync.updated_replicas += sync.is_update(*pod);
    }
    std::ranges::sort(sync.condemned, std::greater<>(), [&](const auto& p) { return stateful::ordinal_of(sync.value, *p); });
  }

  bool available(const Sync& sync, const api::Object& pod) {
    Duration wait = Duration::max();
    bool is = pod_phase(pod) == "Running" && pod_available(pod, std::chrono::seconds(json::get_int(sync.value, {"spec", "minReadySeconds"})), clock_.now(), &wait);
    if (wait != Duration::max()) enqueue_after(sync.object->key(), wait);
    return is;
  }

  // One ordinal after the other, each waiting for the one before; or all at once.
  Result<void> act(Sync& sync) {
    bool parallel = stateful::is_parallel(sync.value);
    for (auto& [ordinal, pod] : sync.pods) {
      bool wait = false;
      if (auto r = keep_one(sync, ordinal, pod, wait); !r) return r;
      if (wait && !parallel) return {};
    }
    api::ObjectPtr first_unhealthy = find_unhealthy(sync);
    for (const auto& pod : sync.condemned) {
      if (pod->deleting()) {
        if (!parallel) return {};
        continue;
      }
      if (!parallel && !available(sync, *pod) && pod != first_unhealthy) return {};
      if (auto r = own_claims(sync, pod); !r) return r;
      if (auto r = remove(sync, *pod); !r) return r;
      if (!parallel) return {};
    }
    return stateful::is_rolling(sync.value) ? update_pods(sync) : Result<void>();
  }

  api::ObjectPtr find_unhealthy(const Sync& sync) {
    for (const auto& [ordinal, pod] : sync.pods)
      if (pod && !(pod_ready(*pod) && !pod->deleting())) return pod;
    for (auto it = sync.condemned.rbegin(); it != sync.condemned.rend(); ++it)
      if (!(pod_ready(**it) && !(*it)->deleting())) return *it;
    return nullptr;
  }

  // `wait` is set when the ordinals after this one have to.
  Result<void> keep_one(Sync& sync, int64_t ordinal, const api::ObjectPtr& pod, bool& wait) {
    wait = true;
    if (!pod) return create(sync, ordinal);
    if (pod_finished(*pod)) {
      if (pod->deleting()) return {};
      bool failed = pod_phase(*pod) == "Failed";
      recorder_.event(sync.value, failed ? "Warning" : "Normal", failed ? "RecreatingFailedPod" : "RecreatingTerminatedPod",
                      "StatefulSet " + sync.object->key() + " is recreating " + (failed ? "failed" : "terminated") + " Pod " + std::string(pod->name()));
      return remove(sync, *pod);
    }
    if (auto r = make_claims(sync, ordinal); !r) return r;
    if (auto r = own_claims(sync, pod); !r) return r;
    wait = pod->deleting() || !available(sync, *pod);
    return {};
  }

  Result<void> make_claims(const Sync& sync, int64_t ordinal) {
    for (const json::object& claim : stateful::claims_of(sync.value, ordinal)) {
      std::string name = string_at(claim, {"metadata", "name"});
      api::ObjectPtr there = claims_.get(sync.object->namespace_(), name);
      // It goes; the pod needs the next one of that name.
      if (there && there->deleting()) return fail(Status(409, "Conflict", "pvc " + name + " is being deleted"));
      if (there) continue;
      auto made = client_.create(kPersistentVolumeClaims, sync.object->namespace_(), claim);
      std::string subject = "Claim " + name + " Pod " + stateful::pod_name(sync.value, ordinal) + " in StatefulSet " + std::string(sync.object->name());
      if (made) recorder_.event(sync.value, "Normal", "SuccessfulCreate", "create " + subject + " success");
      if (made || made.error().reason() == "AlreadyExists") continue;
      recorder_.event(sync.value, "Warning", "FailedCreate", "create " + subject + " failed error: " + made.error().message());
      return fail(made.error());
    }
    return {};
  }

  // Which revision an ordinal that is missing gets: below the partition, or while an update has not come that far, the
  // current one.
  const api::Object& revision_for(const Sync& sync, int64_t ordinal) const {
    if (!stateful::is_rolling(sync.value)) return *sync.update;
    int64_t start = stateful::start_ordinal(sync.value);
    bool partitioned = has(sync.value, {"spec", "updateStrategy", "rollingUpdate", "partition"});
    int64_t bound = partitioned ? stateful::partition_of(sync.value) : json::get_int(sync.value, {"status", "currentReplicas"});
    return ordinal < start + bound ? *sync.current : *sync.update;
  }

  Result<void> create(Sync& sync, int64_t ordinal) {
    if (auto r = make_claims(sync, ordinal); !r) return r;
    std::string name = stateful::pod_name(sync.value, ordinal);
    std::string subject = " Pod " + name + " in StatefulSet " + std::string(sync.object->name());
    auto made = client_.create(kPods, sync.object->namespace_(), stateful::make_pod(sync.value, revision_for(sync, ordinal), ordinal));
    if (made) {
      recorder_.event(sync.value, "Normal", "SuccessfulCreate", "create" + subject + " successful");
      return {};
    }
    // Made a moment ago and not in the cache yet; or somebody else's, which goes some day.
    if (made.error().reason() == "AlreadyExists") {
      auto live = client_.get(kPods, sync.object->namespace_(), name);
      if (live && api::controller_of((*live)->value()).uid == sync.object->uid()) return {};
    }
    for (const Cause& cause : made.error().details().causes)
      if (cause.reason == "NamespaceTerminating") return {};
    recorder_.event(sync.value, "Warning", "FailedCreate", "create" + subject + " failed error: " + made.error().message());
    return fail(made.error());
  }

  Result<void> remove(Sync& sync, const api::Object& pod) {
    std::string subject = " Pod " + std::string(pod.name()) + " in StatefulSet " + std::string(sync.object->name());
    auto r = client_.remove(kPods, pod.namespace_(), pod.name(), {.uid = std::string(pod.uid())});
    if (!r && r.error().is_not_found()) return {};
    if (r) recorder_.event(sync.value, "Normal", "SuccessfulDelete", "delete" + subject + " successful");
    else recorder_.event(sync.value, "Warning", "FailedDelete", "delete" + subject + " failed error: " + r.error().message());
    if (r && !pod.deleting()) {
      sync.current_replicas -= sync.is_current(pod);
      sync.updated_replicas -= sync.is_update(pod);
    }
    return r;
  }

  // From the highest ordinal down to the partition; no more are down at a time than maxUnavailable says.
  Result<void> update_pods(Sync& sync) {
    int64_t min = stateful::start_ordinal(sync.value) + stateful::partition_of(sync.value);
    int64_t limit = std::max<int64_t>(1, resolve_percent(json::at(&sync.value, {"spec", "updateStrategy", "rollingUpdate", "maxUnavailable"}),
                                                         stateful::replicas_of(sync.value), true, 1));
    int64_t unavailable = 0;
    for (const auto& [ordinal, pod] : sync.pods) unavailable += !pod || pod->deleting() || !available(sync, *pod);
    for (auto it = sync.pods.rbegin(); it != sync.pods.rend() && it->first >= min; ++it) {
      const api::ObjectPtr& pod = it->second;
      bool healthy = pod && !pod->deleting() && available(sync, *pod);
      if (pod && !pod->deleting() && !sync.is_update(*pod)) {
        // One that is broken anyway costs nothing.
        if (healthy && unavailable >= limit) return {};
        if (auto r = remove(sync, *pod); !r) return r;
        unavailable += healthy;
        if (limit == 1) return {};
        continue;
      }
      if (!healthy && limit == 1) return {};
    }
    return {};
  }

  // spec.persistentVolumeClaimRetentionPolicy: claims that are to go with the set, or with a pod that is scaled away,
  // name it as an owner.
  Result<void> own_claims(const Sync& sync, const api::ObjectPtr& pod) {
    bool with_set = json::get_string(sync.value, {"spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"}) == "Delete";
    bool with_pod = json::get_string(sync.value, {"spec", "persistentVolumeClaimRetentionPolicy", "whenScaled"}) == "Delete";
    int64_t ordinal = stateful::ordinal_of(sync.value, *pod);
    bool condemned = !sync.pods.contains(ordinal);
    for (const json::object& claim : stateful::claims_of(sync.value, ordinal)) {
      api::ObjectPtr there = claims_.get(sync.object->namespace_(), string_at(claim, {"metadata", "name"}));
      if (!there || there->deleting()) continue;
      const json::array& before = json::get_array(json::at(&there->value(), {"metadata", "ownerReferences"}));
      json::array owners;
      for (const json::value& o : before)
        if (string_at(o, {"uid"}) != sync.object->uid() && !(string_at(o, {"kind"}) == "Pod" && string_at(o, {"name"}) == pod->name())) owners.push_back(o);
      json::object reference = api::controller_reference(with_pod && condemned ? pod->value() : sync.value);
      reference.erase("blockOwnerDeletion");
      if (with_pod && condemned) reference["controller"] = false;
      if (with_set || (with_pod && condemned)) owners.push_back(std::move(reference));
      if (owners.size() == before.size() && std::ranges::equal(owners, before, {}, [](const json::value& o) { return string_at(o, {"uid"}); }, [](const json::value& o) { return string_at(o, {"uid"}); }))
        continue;
      json::object patch{{"metadata", json::object{{"resourceVersion", text(std::to_string(there->revision()))}, {"ownerReferences", std::move(owners)}}}};
      auto written = client_.patch(kPersistentVolumeClaims, there->namespace_(), there->name(), client::PatchType::merge, patch);
      if (!written && !written.error().is_not_found()) return fail(written.error());
    }
    return {};
  }

  Result<void> write_status(Sync& sync, const Pods& claimed) {
    int64_t replicas = 0, ready = 0, n_available = 0;
    for (const auto& pod : claimed) {
      ++replicas;
      bool running = pod_phase(*pod) == "Running" && pod_ready(*pod);
      ready += running;
      n_available += running && available(sync, *pod);
    }
    const api::Object* current = sync.current.get();
    bool updated = stateful::is_rolling(sync.value) && sync.updated_replicas == replicas && ready == replicas &&
                   sync.updated_replicas == stateful::replicas_of(sync.value);
    if (updated) {
      current = sync.update.get();
      sync.current_replicas = sync.updated_replicas;
    }
    json::object status{{"observedGeneration", json::get_int(sync.value, {"metadata", "generation"})}, {"replicas", replicas},
                        {"currentRevision", text(current->name())}, {"updateRevision", text(sync.update->name())}, {"availableReplicas", n_available},
                        {"collisionCount", json::get_int(sync.value, {"status", "collisionCount"})}};
    for (auto [name, count] : {std::pair("readyReplicas", ready), {"currentReplicas", sync.current_replicas}, {"updatedReplicas", sync.updated_replicas}})
      if (count > 0) status[name] = count;
    if (const json::value* conditions = json::at(&sync.value, {"status", "conditions"})) status["conditions"] = *conditions;
    return update_status(client_, kStatefulSets, *sync.object, json::value(std::move(status)));
  }

  client::EventRecorder recorder_;
  client::Informer& sets_;
  client::Informer& pods_;
  client::Informer& claims_;
  client::Informer& revision_informer_;
  Revisions revisions_;
};

}  // namespace

ControllerPtr make_stateful_set_controller(Context context) { return std::make_unique<StatefulSetController>(context); }

}  // namespace kcube::controllers
