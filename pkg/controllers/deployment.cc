// Deployments: a ReplicaSet for each revision of the template, and the way from one to the next.
#include <algorithm>
#include <set>

#include "pkg/base/strings.h"
#include "pkg/controllers/deployment_rollout.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kDeployments;
using client::resources::kPods;
using client::resources::kReplicaSets;
using rollout::Sets;

constexpr size_t kHistoryLength = 2000;

// What one reconcile works on; `deployment` is replaced by what each write returns.
struct Sync {
  api::ObjectPtr deployment;
  Sets all;             // claimed ReplicaSets
  api::ObjectPtr now;   // of the present template, or null
  Sets old;             // all others

  const json::value& value() const { return deployment->value(); }
  void sort_out() {
    now = rollout::find_new(value(), all);
    old.clear();
    for (const auto& set : all)
      if (!now || set->uid() != now->uid()) old.push_back(set);
  }
  void replace(const api::ObjectPtr& set) {
    for (Sets* sets : {&all, &old})
      for (auto& s : *sets)
        if (s->uid() == set->uid()) s = set;
    if (now && now->uid() == set->uid()) now = set;
  }
  Sets active(const Sets& sets) const {
    Sets out;
    std::ranges::copy_if(sets, std::back_inserter(out), [](const auto& s) { return rollout::replicas_of(s->value()) > 0; });
    return out;
  }
};

// Annotations of the Deployment that its ReplicaSets do not take over.
bool own_annotation(std::string_view name) {
  return name == "kubectl.kubernetes.io/last-applied-configuration" || name == rollout::kRevision || name == rollout::kRevisionHistory ||
         name == rollout::kDesired || name == rollout::kMax || name == "deprecated.deployment.rollback.to";
}

json::object wanted_annotations(const json::value& deployment, const json::value* set, int64_t revision) {
  json::object out = set ? json::get_object(json::at(set, {"metadata", "annotations"})) : json::object();
  for (const auto& m : json::get_object(json::at(&deployment, {"metadata", "annotations"})))
    if (!own_annotation(json::view(m.key()))) out[m.key()] = m.value();
  int64_t before = set ? rollout::revision_of(*set) : 0;
  if (before < revision) {
    out[rollout::kRevision] = text(std::to_string(revision));
    if (before > 0) {
      std::string history(json::get_string(out.if_contains(rollout::kRevisionHistory)));
      history += (history.empty() ? "" : ",") + std::to_string(before);
      while (history.size() > kHistoryLength && history.find(',') != std::string::npos) history.erase(0, history.find(',') + 1);
      out[rollout::kRevisionHistory] = text(history);
    }
  }
  return out;
}

void put_replica_annotations(json::object& annotations, const json::value& deployment) {
  int64_t wanted = rollout::replicas_of(deployment);
  annotations[rollout::kDesired] = text(std::to_string(wanted));
  annotations[rollout::kMax] = text(std::to_string(wanted + rollout::limits_of(deployment).surge));
}

bool has_deadline(const json::value& deployment) {
  return has(deployment, {"spec", "progressDeadlineSeconds"}) && json::get_int(deployment, {"spec", "progressDeadlineSeconds"}) != INT32_MAX;
}

class DeploymentController final : public Controller {
 public:
  explicit DeploymentController(Context context)
      : Controller(context, "deployment"), recorder_(context.client, context.clock, "deployment-controller"),
        deployments_(follow_own(kDeployments)), sets_(context.informers.informer(kReplicaSets)), pods_(context.informers.informer(kPods)) {
    index_by_controller(sets_);
    index_by_controller(pods_);
    sets_.add_handlers({.changed =
                            [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                              if (before) enqueue_owner(*before);
                              if (!enqueue_owner(*now) && !now->deleting()) enqueue_matching(*now);
                            },
                        .removed = [this](const api::ObjectPtr& last) { enqueue_owner(*last); }});
    // Recreate waits for the last old pod.
    auto pod_gone = [this](const api::Object& pod) {
      api::OwnerReference owner = api::controller_of(pod.value());
      if (owner.kind != "ReplicaSet") return;
      if (api::ObjectPtr set = sets_.get(pod.namespace_(), owner.name)) enqueue_owner(*set, true);
    };
    pods_.add_handlers({.changed =
                            [pod_gone](const api::ObjectPtr&, const api::ObjectPtr& now) {
                              if (pod_finished(*now)) pod_gone(*now);
                            },
                        .removed = [pod_gone](const api::ObjectPtr& last) { pod_gone(*last); }});
  }

 private:
  bool enqueue_owner(const api::Object& set, bool recreate_only = false) {
    api::OwnerReference owner = api::controller_of(set.value());
    if (owner.uid.empty()) return false;
    if (owner.kind != "Deployment") return true;
    std::string key = api::object_key(set.namespace_(), owner.name);
    if (recreate_only) {
      api::ObjectPtr deployment = deployments_.get(key);
      if (!deployment || rollout::is_rolling_update(deployment->value())) return true;
    }
    enqueue(key);
    return true;
  }

  void enqueue_matching(const api::Object& set) {
    for (const api::ObjectPtr& deployment : deployments_.list(set.namespace_())) {
      auto selector = api::LabelSelector::from_json(json::at(&deployment->value(), {"spec", "selector"}));
      if (selector && !selector->everything() && selector->matches(set.labels())) enqueue(deployment->key());
    }
  }

  Result<void> reconcile(const std::string& key) override {
    Sync sync{deployments_.get(key)};
    if (!sync.deployment) return {};
    auto selector = api::LabelSelector::from_json(json::at(&sync.value(), {"spec", "selector"}));
    if (!selector || selector->everything()) {
      recorder_.event(sync.value(), "Warning", "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.");
      return {};
    }
    auto claimed = claim_children(client_, sets_, kReplicaSets, *sync.deployment, kDeployments, *selector);
    if (!claimed) return fail(claimed.error());
    sync.all = std::move(*claimed);
    sync.sort_out();
    if (sync.deployment->deleting()) return write_status(sync, false);
    if (auto r = check_paused(sync); !r) return r;
    if (json::get_bool(sync.value(), {"spec", "paused"}) || is_scaling(sync)) return only_scale(sync);
    return rollout::is_rolling_update(sync.value()) ? roll(sync) : recreate(sync);
  }

  // --- The ways ---
  Result<void> roll(Sync& sync) {
    if (auto r = ensure_new(sync, true); !r) return r;
    int64_t wanted = rollout::replicas_of(sync.value()), have = rollout::replicas_of(sync.now->value());
    int64_t next = have > wanted ? wanted : rollout::new_replicas(sync.value(), sync.all, have);
    if (next != have) {
      if (auto r = scale(sync, sync.now, next); !r) return r;
      return write_status(sync, true);
    }
    auto shrinking = rollout::shrink_old(sync.value(), sync.all, sync.now, sync.active(sync.old));
    for (const auto& s : shrinking)
      if (auto r = scale(sync, s.set, s.replicas); !r) return r;
    return shrinking.empty() ? finish(sync) : write_status(sync, true);
  }

  Result<void> recreate(Sync& sync) {
    if (auto r = ensure_new(sync, false); !r) return r;
    Sets active = sync.active(sync.old);
    for (const auto& set : active)
      if (auto r = scale(sync, set, 0); !r) return r;
    if (!active.empty() || old_pods_run(sync)) return write_status(sync, true);
    if (auto r = ensure_new(sync, true); !r) return r;
    if (auto r = scale(sync, sync.now, rollout::replicas_of(sync.value())); !r) return r;
    return finish(sync);
  }

  Result<void> finish(Sync& sync) {
    const json::value* status = json::find(&sync.value(), "status");
    if (status != nullptr && rollout::is_complete(sync.value(), *status))
      if (auto r = clean_up(sync); !r) return r;
    return write_status(sync, true);
  }

  Result<void> only_scale(Sync& sync) {
    if (auto r = ensure_new(sync, false); !r) return r;
    if (auto r = scale_all(sync); !r) return r;
    if (json::get_bool(sync.value(), {"spec", "paused"}))
      if (auto r = clean_up(sync); !r) return r;
    return write_status(sync, false);
  }

  // spec.replicas changed while ReplicaSets were sized for another number.
  bool is_scaling(const Sync& sync) const {
    return std::ranges::any_of(sync.active(sync.all), [&](const auto& set) {
      auto desired = parse_int<int64_t>(string_at(set->value(), {"metadata", "annotations", rollout::kDesired}));
      return desired && *desired != rollout::replicas_of(sync.value());
    });
  }

  Result<void> scale_all(Sync& sync) {
    Sets active = sync.active(sync.all);
    if (active.size() <= 1) {
      api::ObjectPtr only = active.empty() ? sync.now : active.front();
      for (const auto& set : sync.old)
        if (active.empty() && !sync.now && (!only || creation_time(set->value()) > creation_time(only->value()))) only = set;
      return only ? scale(sync, only, rollout::replicas_of(sync.value())) : Result<void>();
    }
    if (rollout::is_saturated(sync.value(), sync.now.get())) {
      for (const auto& set : sync.active(sync.old))
        if (auto r = scale(sync, set, 0); !r) return r;
      return {};
    }
    if (!rollout::is_rolling_update(sync.value())) return {};
    for (const auto& s : rollout::proportional(sync.value(), active))
      if (auto r = scale(sync, s.set, s.replicas); !r) return r;
    return {};
  }

  bool old_pods_run(const Sync& sync) const {
    for (const auto& set : sync.old) {
      if (rollout::status_of(set->value(), "replicas") > 0) return true;
      for (const auto& pod : controlled_by(pods_, set->uid()))
        if (!pod_finished(*pod)) return true;
    }
    return false;
  }

  // --- Writes ---
  Result<void> scale(Sync& sync, const api::ObjectPtr& set, int64_t replicas) {
    json::value next(set->value());
    json::object& annotations = json::ensure_path(next, {"metadata", "annotations"});
    put_replica_annotations(annotations, sync.value());
    int64_t before = rollout::replicas_of(set->value());
    if (before == replicas && equivalent(json::at(&set->value(), {"metadata", "annotations"}), json::at(&next, {"metadata", "annotations"})))
      return {};
    json::ensure_path(next, {"spec"})["replicas"] = replicas;
    std::string name(set->name());
    auto written = client_.update(kReplicaSets, set->namespace_(), name, next);
    if (!written) return fail(written.error());
    if (before != replicas)
      recorder_.event(sync.value(), "Normal", "ScalingReplicaSet",
                      "Scaled " + std::string(before < replicas ? "up" : "down") + " replica set " + name + " from " + std::to_string(before) +
                          " to " + std::to_string(replicas));
    sync.replace(*written);
    return {};
  }

  // Finds or makes the ReplicaSet of the present template and brings its revision up to date.
  Result<void> ensure_new(Sync& sync, bool create) {
    int64_t revision = 1;
    for (const auto& set : sync.old) revision = std::max(revision, rollout::revision_of(set->value()) + 1);
    if (!sync.now) return create ? create_new(sync, revision) : Result<void>();
    json::object annotations = wanted_annotations(sync.value(), &sync.now->value(), revision);
    json::value wrapped(annotations);
    int64_t min_ready = json::get_int(sync.value(), {"spec", "minReadySeconds"});
    if (!equivalent(json::at(&sync.now->value(), {"metadata", "annotations"}), &wrapped) ||
        json::get_int(sync.now->value(), {"spec", "minReadySeconds"}) != min_ready) {
      json::value next(sync.now->value());
      json::ensure_path(next, {"metadata"})["annotations"] = std::move(annotations);
      json::ensure_path(next, {"spec"})["minReadySeconds"] = min_ready;
      auto written = client_.update(kReplicaSets, sync.now->namespace_(), sync.now->name(), next);
      if (!written) return fail(written.error());
      sync.replace(*written);
    }
    if (auto r = put_revision(sync, rollout::revision_of(sync.now->value())); !r) return r;
    if (has_deadline(sync.value()) && find_condition(sync.value(), "Progressing") == nullptr)
      return put_progressing(sync, "True", "FoundNewReplicaSet", "Found new replica set \"" + std::string(sync.now->name()) + "\"");
    return {};
  }

  json::object new_set(const Sync& sync, const std::string& hash, int64_t revision) const {
    const json::value& deployment = sync.value();
    json::value pod_template(*json::at(&deployment, {"spec", "template"}));
    json::object& labels = json::ensure_path(pod_template, {"metadata", "labels"});
    labels[rollout::kHashLabel] = text(hash);
    json::value selector(*json::at(&deployment, {"spec", "selector"}));
    json::ensure_path(selector, {"matchLabels"})[rollout::kHashLabel] = text(hash);
    json::object annotations = wanted_annotations(deployment, nullptr, revision);
    put_replica_annotations(annotations, deployment);
    json::object metadata{{"name", text(string_at(deployment, {"metadata", "name"}) + "-" + hash)},
                          {"namespace", text(sync.deployment->namespace_())},
                          {"labels", labels},
                          {"annotations", std::move(annotations)},
                          {"ownerReferences", json::array{api::controller_reference(deployment)}}};
    json::object spec{{"replicas", rollout::new_replicas(deployment, sync.all, 0)},
                      {"minReadySeconds", json::get_int(deployment, {"spec", "minReadySeconds"})},
                      {"selector", std::move(selector)},
                      {"template", std::move(pod_template)}};
    return {{"apiVersion", "apps/v1"}, {"kind", "ReplicaSet"}, {"metadata", std::move(metadata)}, {"spec", std::move(spec)}};
  }

  Result<void> create_new(Sync& sync, int64_t revision) {
    std::string hash = template_hash(*json::at(&sync.value(), {"spec", "template"}), json::at(&sync.value(), {"status", "collisionCount"}));
    json::object set = new_set(sync, hash, revision);
    std::string name = string_at(set, {"metadata", "name"});
    int64_t replicas = json::get_int(set, {"spec", "replicas"});
    auto made = client_.create(kReplicaSets, sync.deployment->namespace_(), set);
    if (made) {
      if (replicas > 0)
        recorder_.event(sync.value(), "Normal", "ScalingReplicaSet", "Scaled up replica set " + name + " from 0 to " + std::to_string(replicas));
    } else if (made.error().reason() == "AlreadyExists") {
      made = client_.get(kReplicaSets, sync.deployment->namespace_(), name);
      if (!made) return fail(made.error());
      // Ours, not yet in the cache; or another template of the same hash: the next attempt counts that in.
      bool ours = api::controller_of((*made)->value()).uid == sync.deployment->uid() && rollout::find_new(sync.value(), {*made});
      if (!ours) return count_collision(sync);
    } else {
      std::string message = "Failed to create new replica set \"" + name + "\": " + made.error().message();
      recorder_.event(sync.value(), "Warning", "ReplicaSetCreateError", message);
      Status error = made.error();
      if (has_deadline(sync.value())) (void)put_progressing(sync, "False", "ReplicaSetCreateError", message);
      return fail(error);
    }
    sync.now = *made;
    sync.all.push_back(*made);
    if (auto r = put_revision(sync, revision); !r) return r;
    return has_deadline(sync.value()) ? put_progressing(sync, "True", "NewReplicaSetCreated", "Created new replica set \"" + name + "\"") : Result<void>();
  }

  Result<void> count_collision(Sync& sync) {
    json::value next(sync.value());
    json::object& status = json::ensure_path(next, {"status"});
    status["collisionCount"] = json::get_int(sync.value(), {"status", "collisionCount"}) + 1;
    auto written = client_.update(kDeployments, sync.deployment->namespace_(), sync.deployment->name(), next, "status");
    if (!written) return fail(written.error());
    return fail(Status(409, "Conflict", "two templates of " + sync.deployment->key() + " have the same hash"));
  }

  Result<void> put_revision(Sync& sync, int64_t revision) {
    if (rollout::revision_of(sync.value()) == revision) return {};
    json::object patch{{"metadata", json::object{{"resourceVersion", text(std::to_string(sync.deployment->revision()))},
                                                 {"annotations", json::object{{rollout::kRevision, text(std::to_string(revision))}}}}}};
    // By way of the status: an annotation that is changed otherwise counts as a new generation.
    auto written = client_.patch(kDeployments, sync.deployment->namespace_(), sync.deployment->name(), client::PatchType::merge, patch, "status");
    if (!written) return fail(written.error());
    sync.deployment = *written;
    return {};
  }

  Result<void> put_progressing(Sync& sync, std::string_view status, std::string_view reason, const std::string& message) {
    json::value next(sync.value());
    json::array& conditions = json::ensure_array(json::ensure_path(next, {"status"}), "conditions");
    if (!set_condition(conditions, {"Progressing", status, reason, message}, clock_.now(), true)) return {};
    auto written = client_.update(kDeployments, sync.deployment->namespace_(), sync.deployment->name(), next, "status");
    if (!written) return fail(written.error());
    sync.deployment = *written;
    return {};
  }

  Result<void> check_paused(Sync& sync) {
    if (!has_deadline(sync.value())) return {};
    const json::value* progressing = find_condition(sync.value(), "Progressing");
    std::string_view reason = progressing ? json::get_string(*progressing, {"reason"}) : std::string_view();
    if (reason == "ProgressDeadlineExceeded") return {};
    bool paused = json::get_bool(sync.value(), {"spec", "paused"});
    if (paused && reason != "DeploymentPaused") return put_progressing(sync, "Unknown", "DeploymentPaused", "Deployment is paused");
    if (!paused && reason == "DeploymentPaused") return put_progressing(sync, "Unknown", "DeploymentResumed", "Deployment is resumed");
    return {};
  }

  // Deletes old revisions beyond spec.revisionHistoryLimit.
  Result<void> clean_up(Sync& sync) {
    if (!has(sync.value(), {"spec", "revisionHistoryLimit"})) return {};
    Sets old;
    std::ranges::copy_if(sync.old, std::back_inserter(old), [](const auto& s) { return !s->deleting(); });
    int64_t excess = static_cast<int64_t>(old.size()) - json::get_int(sync.value(), {"spec", "revisionHistoryLimit"});
    if (excess <= 0) return {};
    std::ranges::sort(old, {}, [](const auto& s) { return std::pair(rollout::revision_of(s->value()), creation_time(s->value())); });
    for (int64_t i = 0; i < excess; ++i) {
      const json::value& set = old[i]->value();
      if (rollout::status_of(set, "replicas") != 0 || rollout::replicas_of(set) != 0 ||
          json::get_int(set, {"metadata", "generation"}) > rollout::status_of(set, "observedGeneration"))
        continue;
      auto gone = client_.remove(kReplicaSets, old[i]->namespace_(), old[i]->name(), {.uid = std::string(old[i]->uid()), .propagation = "Background"});
      if (!gone && !gone.error().is_not_found()) return gone;
    }
    return {};
  }

  Result<void> write_status(Sync& sync, bool rolling) {
    SystemTime now = clock_.now();
    json::object status = rollout::make_status(sync.value(), sync.all, sync.now.get(), now);
    if (rolling) {
      rollout::copy_replica_failure(status, sync.all, sync.now.get(), now);
      if (rollout::set_progress(sync.value(), status, sync.now.get(), now)) wake_at_deadline(sync, status, now);
    }
    return update_status(client_, kDeployments, *sync.deployment, json::value(std::move(status)));
  }

  void wake_at_deadline(const Sync& sync, const json::object& status, SystemTime now) {
    for (const json::value& c : json::get_array(status.if_contains("conditions"))) {
      if (json::get_string(c, {"type"}) != "Progressing") continue;
      auto due = time_at(c, {"lastUpdateTime"}) + std::chrono::seconds(json::get_int(sync.value(), {"spec", "progressDeadlineSeconds"}) + 1);
      enqueue_after(sync.deployment->key(), std::max<Duration>(due - now, std::chrono::seconds(1)));
    }
  }

  client::EventRecorder recorder_;
  client::Informer& deployments_;
  client::Informer& sets_;
  client::Informer& pods_;
};

}  // namespace

ControllerPtr make_deployment_controller(Context context) { return std::make_unique<DeploymentController>(context); }

}  // namespace kcube::controllers
