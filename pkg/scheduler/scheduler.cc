#include "pkg/scheduler/scheduler.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "pkg/base/executor.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/base/work_queue.h"
#include "pkg/client/informer.h"
#include "pkg/client/recorder.h"
#include "pkg/scheduler/plugins.h"

namespace kcube::scheduler {
namespace {

using client::resources::kNodes;
using client::resources::kPods;

// An assumed pod whose binding was never seen is forgotten after this.
constexpr BackOff kBackOff{std::chrono::seconds(1), std::chrono::seconds(10)};

bool over(const core::v1::Pod& pod) { return pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed"; }

class SchedulerImpl final : public Scheduler {
 public:
  SchedulerImpl(client::Client& client, Clock& clock, Options options)
      : client_(client), clock_(clock), options_(std::move(options)), informers_(client, clock), recorder_(client, clock, options_.name),
        queue_(clock, kBackOff) {}
  ~SchedulerImpl() override { stop(); }

  void start() override {
    pods_ = &informers_.informer(kPods);
    client::Informer& nodes = informers_.informer(kNodes);
    claims_ = &informers_.informer(client::resources::kPersistentVolumeClaims);
    volumes_ = &informers_.informer(client::resources::kPersistentVolumes);
    classes_ = &informers_.informer({"storage.k8s.io", "v1", "storageclasses"});
    namespaces_ = &informers_.informer(client::resources::kNamespaces);
    pods_->add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) { pod_changed(before, now); },
                         .removed = [this](const api::ObjectPtr& last) { pod_removed(last); }});
    nodes.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) { node_changed(before, now); },
                        .removed = [this](const api::ObjectPtr& last) { node_removed(last); }});
    auto helps = [this](const api::ObjectPtr&, const api::ObjectPtr&) { retry_waiting(); };
    claims_->add_handlers({.changed = helps});
    volumes_->add_handlers({.changed = helps});
    queue_.on_ready([this] { executor_.submit([this] { pump(); }); });
    informers_.start();
    informers_.wait_synced();
    {
      std::lock_guard lock(pump_mutex_);
      started_ = true;
    }
    executor_.submit([this] { pump(); });
  }

  void stop() override {
    if (std::exchange(stopped_, true)) return;
    queue_.shut_down();
    informers_.stop();
    executor_.stop();
    binders_.stop();
  }

 private:
  // One pod at a time: decisions build on each other. Binding itself goes on beside it.
  void pump() {
    std::lock_guard lock(pump_mutex_);
    if (!started_) return;
    while (auto key = queue_.try_take()) {
      schedule(*key);
      queue_.done(*key);
    }
  }

  bool ours(const core::v1::Pod& pod) const {
    std::string_view name = pod.spec().scheduler_name();
    return name == options_.name || (name.empty() && options_.name == "default-scheduler");
  }

  void pod_changed(const api::ObjectPtr& before, const api::ObjectPtr& now) {
    core::v1::Pod pod(now->value());
    std::string node(pod.spec().node_name());
    if (node.empty()) {
      bool spec_changed = !before || before->deleting() != now->deleting() ||
                          core::v1::Pod(before->value()).metadata().generation() != pod.metadata().generation() ||
                          core::v1::Pod(before->value()).spec().scheduling_gates().size() != pod.spec().scheduling_gates().size();
      // Nominated before this scheduler started: the room is still kept for it.
      if (!before && ours(pod) && !pod.status().nominated_node_name().empty()) {
        std::lock_guard lock(mutex_);
        nominated_[now->key()] = {std::string(pod.status().nominated_node_name()), now, {}};
      }
      if (ours(pod) && spec_changed) queue_.add(now->key());
      return;
    }
    {
      std::lock_guard lock(mutex_);
      assumed_.erase(now->key());
      waiting_.erase(now->key());
      nominated_.erase(now->key());
      NodeInfo& info = nodes_[node];
      if (over(pod)) info.remove_pod(now->key());
      else info.add_pod(now);
    }
    bool freed = over(pod) && (!before || !over(core::v1::Pod(before->value())));
    bool appeared = !before || core::v1::Pod(before->value()).spec().node_name().empty();
    // Room became free, or a pod that others want to be near is there now.
    if (freed || appeared) retry_waiting();
  }

  void pod_removed(const api::ObjectPtr& last) {
    std::string node(core::v1::Pod(last->value()).spec().node_name());
    {
      std::lock_guard lock(mutex_);
      auto assumed = assumed_.find(last->key());
      if (node.empty() && assumed != assumed_.end()) node = assumed->second;
      assumed_.erase(last->key());
      waiting_.erase(last->key());
      nominated_.erase(last->key());
      if (auto it = nodes_.find(node); it != nodes_.end()) it->second.remove_pod(last->key());
    }
    queue_.forget(last->key());
    retry_waiting();
  }

  void node_changed(const api::ObjectPtr& before, const api::ObjectPtr& now) {
    {
      std::lock_guard lock(mutex_);
      nodes_[std::string(now->name())].set_node(now);
    }
    // Heartbeats change nothing that matters here.
    if (before) {
      const json::value &a = before->value(), &b = now->value();
      auto same = [&](std::initializer_list<std::string_view> path) {
        const json::value *x = json::at(&a, path), *y = json::at(&b, path);
        return (x == nullptr) == (y == nullptr) && (x == nullptr || *x == *y);
      };
      if (same({"spec"}) && same({"metadata", "labels"}) && same({"status", "allocatable"})) return;
    }
    retry_waiting();
  }

  void node_removed(const api::ObjectPtr& last) {
    std::lock_guard lock(mutex_);
    nodes_.erase(std::string(last->name()));
  }

  // Something changed that may let unschedulable pods in.
  void retry_waiting() {
    std::set<std::string> keys;
    {
      std::lock_guard lock(mutex_);
      keys.swap(waiting_);
    }
    for (const std::string& key : keys) queue_.add(key);
  }

  void schedule(const std::string& key) {
    api::ObjectPtr object = pods_->get(key);
    if (!object || object->deleting()) return;
    core::v1::Pod pod(object->value());
    if (!pod.spec().node_name().empty() || !ours(pod) || over(pod)) return;
    {
      std::lock_guard lock(mutex_);
      if (assumed_.contains(key)) return;
    }
    if (!pod.spec().scheduling_gates().empty()) return set_condition(object, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates");

    std::unique_lock lock(mutex_);
    Cycle cycle{pod, pod_requests(pod), host_ports(pod), nodes_,
                [this](std::string_view k) { return claims_->get(k); }, [this](std::string_view n) { return volumes_->get(n); },
                [this](std::string_view n) { return classes_->get(n); }, [this](std::string_view n) { return namespaces_->get(n); }};
    std::map<std::string, int> reasons;
    std::string why = pre_filter(cycle);
    std::vector<const NodeInfo*> fitting;
    if (why.empty()) {
      for (const auto& [name, info] : nodes_) {
        if (!info.node) continue;
        std::string reason = filter_beside_nominated(cycle, key, info);
        if (reason.empty()) fitting.push_back(&info);
        else ++reasons[reason];
      }
    }
    if (fitting.empty()) {
      waiting_.insert(key);
      size_t total = std::ranges::count_if(nodes_, [](const auto& n) { return n.second.node != nullptr; });
      std::vector<api::ObjectPtr> victims;
      std::string nominated;
      if (why.empty() && !victims_leave(key)) {
        preempt(cycle, key, nominated, victims);
        if (nominated.empty()) nominated_.erase(key);
        else nominated_[key] = {nominated, object, victims};
      }
      lock.unlock();
      unschedulable(object, why, reasons, total, nominated, victims);
      return;
    }
    const NodeInfo* best = choose(cycle, fitting);
    std::string node(best->node->name());
    nodes_[node].add_pod(object);
    assumed_[key] = node;
    nominated_.erase(key);
    lock.unlock();
    select_node_for_claims(pod, node);
    binders_.submit([this, object, node] { bind(object, node); });
  }

  // The room that a preemption made is not for those who are less important than the pod it was made for.
  std::string filter_beside_nominated(const Cycle& cycle, const std::string& key, const NodeInfo& info, bool* permanent = nullptr) const {
    NodeInfo with;
    for (const auto& [other, nomination] : nominated_) {
      if (other == key || nomination.node != info.node->name() || core::v1::Pod(nomination.pod->value()).spec().priority() < cycle.pod.spec().priority()) continue;
      if (!with.node) with = info;
      with.add_pod(nomination.pod);
    }
    return filter(cycle, with.node ? with : info, permanent);
  }

  const NodeInfo* choose(const Cycle& cycle, const std::vector<const NodeInfo*>& fitting) {
    if (fitting.size() == 1) return fitting.front();
    std::vector<double> scores = score(cycle, fitting);
    double best = *std::ranges::max_element(scores);
    std::vector<const NodeInfo*> top;
    for (size_t i = 0; i < fitting.size(); ++i)
      if (scores[i] >= best - 1e-9) top.push_back(fitting[i]);
    return top[random_u64() % top.size()];
  }

  // Claims that wait for their first consumer learn where it goes.
  void select_node_for_claims(const core::v1::Pod& pod, const std::string& node) {
    for (auto v : pod.spec().volumes()) {
      auto source = v.persistent_volume_claim();
      if (!source) continue;
      auto claim = claims_->get(pod.metadata().namespace_(), source.claim_name());
      if (!claim || !core::v1::PersistentVolumeClaim(claim->value()).spec().volume_name().empty()) continue;
      json::object patch{{"metadata", json::object{{"annotations", json::object{{"volume.kubernetes.io/selected-node", json::key(node)}}}}}};
      (void)client_.patch(client::resources::kPersistentVolumeClaims, claim->namespace_(), claim->name(), client::PatchType::merge, patch);
    }
  }

  void bind(const api::ObjectPtr& pod, const std::string& node) {
    json::object binding{{"apiVersion", "v1"}, {"kind", "Binding"},
                         {"metadata", json::object{{"name", json::key(pod->name())}, {"namespace", json::key(pod->namespace_())}, {"uid", json::key(pod->uid())}}},
                         {"target", json::object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", json::key(node)}}}};
    auto r = client_.create(kPods, pod->namespace_(), binding, "binding", pod->name());
    if (r) {
      queue_.forget(pod->key());
      recorder_.event(pod->value(), "Normal", "Scheduled", "Successfully assigned " + pod->key() + " to " + node);
      return;
    }
    bool current;
    {
      std::lock_guard lock(mutex_);
      current = assumed_.erase(pod->key()) > 0;
      if (auto it = nodes_.find(node); current && it != nodes_.end()) it->second.remove_pod(pod->key());
    }
    if (r.error().is_not_found() || r.error().is_conflict()) return;
    log::warn("scheduler", "cannot bind", {{"pod", pod->key()}, {"error", r.error()}});
    queue_.add_rate_limited(pod->key());
  }

  // Those evicted for this pod are still on their way out: it waits for them. Caller holds mutex_.
  bool victims_leave(const std::string& key) const {
    auto nomination = nominated_.find(key);
    if (nomination == nominated_.end()) return false;
    auto node = nodes_.find(nomination->second.node);
    if (node == nodes_.end()) return false;
    return std::ranges::any_of(nomination->second.victims, [&](const api::ObjectPtr& victim) {
      auto pod = node->second.pods.find(victim->key());
      return pod != node->second.pods.end() && pod->second->uid() == victim->uid();
    });
  }

  // Finds the node where evicting the fewest, least important pods makes room. Caller holds mutex_.
  void preempt(const Cycle& cycle, const std::string& key, std::string& nominated, std::vector<api::ObjectPtr>& victims) {
    int64_t priority = cycle.pod.spec().priority();
    if (cycle.pod.spec().preemption_policy() == "Never") return;
    int64_t best_priority = INT64_MAX;
    size_t best_count = SIZE_MAX;
    for (const auto& [name, info] : nodes_) {
      bool permanent = false;
      if (!info.node || filter_beside_nominated(cycle, key, info, &permanent).empty() || permanent) continue;
      std::vector<api::ObjectPtr> lower;
      bool leaving = false;
      for (const auto& [key, pod] : info.pods) {
        if (core::v1::Pod(pod->value()).spec().priority() >= priority) continue;
        lower.push_back(pod);
        leaving = leaving || pod->deleting();
      }
      // Victims of an earlier round are on their way out: wait for them.
      if (lower.empty() || leaving) continue;
      std::map<std::string, NodeInfo> world = nodes_;
      NodeInfo& candidate = world[name];
      for (const auto& pod : lower) candidate.remove_pod(pod->key());
      Cycle hypothetical{cycle.pod, cycle.requests, cycle.ports, world, cycle.claim, cycle.volume, cycle.storage_class, cycle.name_space};
      if (!filter_beside_nominated(hypothetical, key, candidate).empty()) continue;
      // Give back as many as fit, the most important first.
      std::ranges::sort(lower, std::greater<>(), [](const api::ObjectPtr& p) { return core::v1::Pod(p->value()).spec().priority(); });
      std::vector<api::ObjectPtr> needed;
      for (const auto& pod : lower) {
        candidate.add_pod(pod);
        if (filter_beside_nominated(hypothetical, key, candidate).empty()) continue;
        candidate.remove_pod(pod->key());
        needed.push_back(pod);
      }
      int64_t highest = needed.empty() ? INT64_MIN : core::v1::Pod(needed.front()->value()).spec().priority();
      if (highest > best_priority || (highest == best_priority && needed.size() >= best_count)) continue;
      best_priority = highest;
      best_count = needed.size();
      victims = std::move(needed);
      nominated = name;
    }
  }

  void unschedulable(const api::ObjectPtr& pod, const std::string& why, const std::map<std::string, int>& reasons, size_t total,
                     const std::string& nominated, const std::vector<api::ObjectPtr>& victims) {
    std::string message = "0/" + std::to_string(total) + " nodes are available: ";
    if (!why.empty()) {
      message += why + ".";
    } else if (total == 0) {
      message = "no nodes available to schedule pods";
    } else {
      std::vector<std::string> parts;
      for (const auto& [reason, count] : reasons) parts.push_back(std::to_string(count) + " " + reason);
      message += join(parts, ", ") + ".";
      if (nominated.empty()) message += " no new claims to deallocate, preemption: 0/" + std::to_string(total) + " nodes are available: " + std::to_string(total) + " No preemption victims found for incoming pod.";
    }
    recorder_.event(pod->value(), "Warning", "FailedScheduling", message);
    set_condition(pod, "Unschedulable", message, nominated);
    for (const api::ObjectPtr& victim : victims) {
      recorder_.event(victim->value(), "Normal", "Preempted", "Preempted by pod " + std::string(pod->uid()) + " on node " + nominated);
      json::array conditions = json::get_array(json::at(&victim->value(), {"status", "conditions"}));
      conditions.push_back(json::object{{"type", "DisruptionTarget"}, {"status", "True"}, {"reason", "PreemptionByScheduler"},
                                        {"message", json::key(options_.name + ": preempting to accommodate a higher priority pod")},
                                        {"lastTransitionTime", json::key(format_time(clock_.now()))}});
      json::object patch{{"status", json::object{{"conditions", std::move(conditions)}}}};
      (void)client_.patch(kPods, victim->namespace_(), victim->name(), client::PatchType::strategic, patch, "status");
      (void)client_.remove(kPods, victim->namespace_(), victim->name(), {.uid = std::string(victim->uid())});
    }
  }

  void set_condition(const api::ObjectPtr& pod, std::string_view reason, std::string_view message, const std::string& nominated = {}) {
    for (auto c : core::v1::Pod(pod->value()).status().conditions())
      if (c.type() == "PodScheduled" && c.reason() == reason && c.message() == message && nominated.empty()) return;
    json::object status{{"conditions", json::array{json::object{{"type", "PodScheduled"}, {"status", "False"}, {"reason", json::key(reason)}, {"message", json::key(message)},
                                                               {"lastProbeTime", nullptr}, {"lastTransitionTime", json::key(format_time(clock_.now()))}}}}};
    if (!nominated.empty()) status["nominatedNodeName"] = json::key(nominated);
    json::object patch{{"metadata", json::object{{"uid", json::key(pod->uid())}}}, {"status", std::move(status)}};
    (void)client_.patch(kPods, pod->namespace_(), pod->name(), client::PatchType::strategic, patch, "status");
  }

  client::Client& client_;
  Clock& clock_;
  const Options options_;
  client::InformerFactory informers_;
  client::EventRecorder recorder_;
  client::Informer *pods_ = nullptr, *claims_ = nullptr, *volumes_ = nullptr, *classes_ = nullptr, *namespaces_ = nullptr;
  WorkQueue queue_;

  struct Nomination {
    std::string node;
    api::ObjectPtr pod;
    std::vector<api::ObjectPtr> victims{};
  };

  std::mutex mutex_;                              // guards those below
  std::map<std::string, NodeInfo> nodes_;
  std::map<std::string, std::string> assumed_;    // pod -> node, decided but not yet seen bound
  std::set<std::string> waiting_;                 // fit nowhere; a change lets them try again
  std::map<std::string, Nomination> nominated_;   // for whom victims were evicted, and where

  std::mutex pump_mutex_;
  bool started_ = false, stopped_ = false;
  Executor executor_{{.name = "scheduler", .max_threads = 1}};
  Executor binders_{{.name = "binder", .max_threads = 8}};
};

}  // namespace

std::unique_ptr<Scheduler> Scheduler::create(client::Client& client, Clock& clock, Options options) {
  return std::make_unique<SchedulerImpl>(client, clock, std::move(options));
}

}  // namespace kcube::scheduler
