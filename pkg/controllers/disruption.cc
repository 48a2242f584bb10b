// status of PodDisruptionBudgets: how many pods may be evicted now.
#include <algorithm>
#include <set>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

// An eviction that was promised and whose pod still has no deletion time is forgotten after this.
constexpr auto kPromise = std::chrono::minutes(2);

class DisruptionController final : public Controller {
 public:
  explicit DisruptionController(Context context)
      : Controller(context, "disruption"), recorder_(context.client, context.clock, "controllermanager"), budgets_(follow_own(kPodDisruptionBudgets)),
        pods_(context.informers.informer(kPods)), sets_(context.informers.informer(kReplicaSets)), deployments_(context.informers.informer(kDeployments)),
        stateful_sets_(context.informers.informer(kStatefulSets)), controllers_(context.informers.informer(kReplicationControllers)) {
    pods_.add_handlers({.changed =
                            [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                              bool same = before && before->labels() == now->labels() && before->deleting() == now->deleting() && pod_ready(*before) == pod_ready(*now);
                              if (!same) enqueue_for(*now);
                            },
                        .removed = [this](const api::ObjectPtr& last) { enqueue_for(*last); }});
    for (client::Informer* scaled : {&sets_, &deployments_, &stateful_sets_, &controllers_})
      scaled->add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
        if (before && replicas_of(*before) == replicas_of(*now)) return;
        for (const auto& budget : budgets_.list(now->namespace_())) enqueue(budget->key());
      }});
  }

 private:
  static int64_t replicas_of(const api::Object& object) { return json::get_int(object.value(), {"spec", "replicas"}, 1); }
  static api::LabelSelector selector_of(const json::value& budget) {
    auto selector = api::LabelSelector::from_json(json::at(&budget, {"spec", "selector"}));
    return selector ? *selector : api::LabelSelector::nothing();
  }

  void enqueue_for(const api::Object& pod) {
    for (const auto& budget : budgets_.list(pod.namespace_())) enqueue(budget->key());
  }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr budget = budgets_.get(key);
    if (!budget || budget->deleting()) return {};
    const json::value& value = budget->value();
    auto selector = selector_of(value);
    std::vector<api::ObjectPtr> pods;
    for (const auto& pod : pods_.list(budget->namespace_()))
      if (selector.matches(pod->labels())) pods.push_back(pod);
    if (pods.empty()) recorder_.event(value, "Normal", "NoPods", "No matching pods found");

    int64_t expected = 0, desired = 0;
    auto counted = count(value, pods, expected, desired);
    json::object status = json::get_object(json::find(&value, "status"));
    json::array& conditions = json::ensure_array(status, "conditions");
    if (!counted) {
      recorder_.event(value, "Warning", "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: " + counted.error().message());
      status["disruptionsAllowed"] = 0;
      put_condition(conditions, value, "False", "SyncFailed", counted.error().message());
      return update_status(client_, kPodDisruptionBudgets, *budget, json::value(std::move(status)));
    }
    json::object promised = keep_promises(key, value, pods);
    int64_t healthy = std::ranges::count_if(pods, [&](const auto& pod) { return pod_ready(*pod) && !pod->deleting() && !promised.contains(json::key(pod->name())); });
    int64_t allowed = expected <= 0 ? 0 : std::max<int64_t>(0, healthy - desired);
    put_condition(conditions, value, allowed > 0 ? "True" : "False", allowed > 0 ? "SufficientPods" : "InsufficientPods", "");
    status["currentHealthy"] = healthy;
    status["desiredHealthy"] = desired;
    status["expectedPods"] = expected;
    status["disruptionsAllowed"] = allowed;
    status["observedGeneration"] = json::get_int(value, {"metadata", "generation"});
    if (promised.empty()) status.erase("disruptedPods");
    else status["disruptedPods"] = std::move(promised);
    return update_status(client_, kPodDisruptionBudgets, *budget, json::value(std::move(status)));
  }

  void put_condition(json::array& conditions, const json::value& budget, std::string_view state, std::string_view reason, const std::string& message) {
    set_condition(conditions, {"DisruptionAllowed", state, reason, message}, clock_.now());
    for (json::value& c : conditions)
      if (json::get_string(c, {"type"}) == "DisruptionAllowed") {
        c.as_object()["observedGeneration"] = json::get_int(budget, {"metadata", "generation"});
        c.as_object()["message"] = text(message);
      }
  }

  // status.disruptedPods: what the eviction API has promised and the cache does not show yet.
  json::object keep_promises(const std::string& key, const json::value& budget, const std::vector<api::ObjectPtr>& pods) {
    json::object out;
    for (const auto& m : json::get_object(json::at(&budget, {"status", "disruptedPods"}))) {
      auto pod = std::ranges::find_if(pods, [&](const auto& p) { return p->name() == json::view(m.key()); });
      if (pod == pods.end() || (*pod)->deleting()) continue;
      SystemTime since{};
      parse_time(json::get_string(&m.value()), since);
      if (since + kPromise <= clock_.now()) continue;
      enqueue_after(key, since + kPromise - clock_.now());
      out[m.key()] = m.value();
    }
    return out;
  }

  Result<void> count(const json::value& budget, const std::vector<api::ObjectPtr>& pods, int64_t& expected, int64_t& desired) const {
    const json::value *min = json::at(&budget, {"spec", "minAvailable"}), *max = json::at(&budget, {"spec", "maxUnavailable"});
    if (min != nullptr && min->is_number()) {
      expected = static_cast<int64_t>(pods.size());
      desired = json::get_int(min);
      return {};
    }
    auto scale = expected_scale(pods);
    if (!scale) return fail(scale.error());
    expected = *scale;
    if (max != nullptr && !max->is_null()) desired = std::max<int64_t>(0, expected - resolve_percent(max, expected, true));
    else desired = resolve_percent(min, expected, true);
    return {};
  }

  // How many pods their controllers want together.
  Result<int64_t> expected_scale(const std::vector<api::ObjectPtr>& pods) const {
    std::set<std::string> seen;
    int64_t total = 0;
    for (const auto& pod : pods) {
      api::OwnerReference owner = api::controller_of(pod->value());
      if (owner.uid.empty()) return fail(Status::bad_request("found no controllers for pod \"" + std::string(pod->name()) + "\""));
      api::ObjectPtr object = find(pod->namespace_(), owner);
      if (object && owner.kind == "ReplicaSet") {
        api::OwnerReference above = api::controller_of(object->value());
        if (above.kind == "Deployment")
          if (auto deployment = deployments_.get(object->namespace_(), above.name); deployment && deployment->uid() == above.uid) object = deployment;
      }
      if (!object) {
        // Its owner went before it, or is of a kind that has no scale.
        if (owner.kind == "ReplicaSet" || owner.kind == "StatefulSet" || owner.kind == "ReplicationController") continue;
        return fail(Status::bad_request(to_lower_plural(owner) + " does not implement the scale subresource"));
      }
      if (seen.insert(std::string(object->uid())).second) total += replicas_of(*object);
    }
    return total;
  }

  static std::string to_lower_plural(const api::OwnerReference& owner) {
    size_t slash = owner.api_version.find('/');
    std::string out = owner.kind + "s";
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(tolower(c)); });
    return slash == std::string::npos ? out : out + "." + owner.api_version.substr(0, slash);
  }

  api::ObjectPtr find(std::string_view ns, const api::OwnerReference& owner) const {
    const client::Informer* informer = owner.kind == "ReplicaSet"              ? &sets_
                                       : owner.kind == "StatefulSet"           ? &stateful_sets_
                                       : owner.kind == "ReplicationController" ? &controllers_
                                       : owner.kind == "Deployment"            ? &deployments_
                                                                               : nullptr;
    api::ObjectPtr object = informer ? informer->get(ns, owner.name) : nullptr;
    return object && object->uid() == owner.uid ? object : nullptr;
  }

  client::EventRecorder recorder_;
  client::Informer& budgets_;
  client::Informer& pods_;
  client::Informer& sets_;
  client::Informer& deployments_;
  client::Informer& stateful_sets_;
  client::Informer& controllers_;
};

}  // namespace

ControllerPtr make_disruption_controller(Context context) { return std::make_unique<DisruptionController>(context); }

}  // namespace kcube::controllers
