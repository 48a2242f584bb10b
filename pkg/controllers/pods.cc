#include "pkg/controllers/pods.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "pkg/base/strings.h"
#include "pkg/client/informer.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kPods;

SystemTime ready_since(const api::Object& pod) {
  const json::value* ready = find_condition(pod.value(), "Ready");
  return ready == nullptr ? SystemTime{} : time_at(*ready, {"lastTransitionTime"});
}

// Ages are compared on a scale of powers of two, so that pods of nearly the same age are chosen by uid, evenly.
int log_age(SystemTime since, SystemTime now) {
  if (since == SystemTime{}) return -1;
  double age = std::chrono::duration<double>(now - since).count();
  return age < 1 ? 0 : static_cast<int>(std::log2(age)) + 1;
}

int phase_order(std::string_view phase) { return phase == "Pending" || phase.empty() ? 0 : phase == "Unknown" ? 1 : 2; }

int64_t deletion_cost(const api::Object& pod) {
  return parse_int<int32_t>(string_at(pod.value(), {"metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"})).value_or(0);
}

bool forbidden_by_ending_namespace(const Status& status) {
  return std::ranges::any_of(status.details().causes, [](const Cause& c) { return c.reason == "NamespaceTerminating"; });
}

}  // namespace

std::string_view pod_phase(const api::Object& pod) { return json::get_string(pod.value(), {"status", "phase"}); }
std::string_view pod_node(const api::Object& pod) { return json::get_string(pod.value(), {"spec", "nodeName"}); }
bool pod_finished(const api::Object& pod) {
  std::string_view phase = pod_phase(pod);
  return phase == "Succeeded" || phase == "Failed";
}
bool pod_active(const api::Object& pod) { return !pod.deleting() && !pod_finished(pod); }
bool pod_terminating(const api::Object& pod) { return pod.deleting() && !pod_finished(pod); }
bool pod_ready(const api::Object& pod) { return condition_is(pod.value(), "Ready"); }

bool pod_available(const api::Object& pod, std::chrono::seconds min_ready, SystemTime now, Duration* wait) {
  if (!pod_ready(pod)) return false;
  if (min_ready.count() == 0) return true;
  SystemTime since = ready_since(pod);
  if (since == SystemTime{}) return false;
  if (since + min_ready <= now) return true;
  if (wait != nullptr) *wait = std::min<Duration>(*wait, since + min_ready - now);
  return false;
}

int64_t pod_restarts(const api::Object& pod) {
  int64_t total = 0;
  for (const json::value& c : json::get_array(json::at(&pod.value(), {"status", "containerStatuses"}))) total += json::get_int(c, {"restartCount"});
  return total;
}

void sort_for_deletion(std::vector<api::ObjectPtr>& pods, const std::function<int(const api::Object&)>& rank, SystemTime now) {
  // Smaller goes first.
  auto order = [&](const api::Object& pod) {
    bool ready = pod_ready(pod);
    return std::tuple(!pod_node(pod).empty(), phase_order(pod_phase(pod)), ready, deletion_cost(pod), -rank(pod),
                      ready ? log_age(ready_since(pod), now) : 0, -pod_restarts(pod), log_age(creation_time(pod.value()), now), pod.uid());
  };
  using Order = decltype(order(*pods.front()));
  std::vector<std::pair<Order, api::ObjectPtr>> ordered;
  for (api::ObjectPtr& pod : pods) ordered.emplace_back(order(*pod), std::move(pod));
  std::ranges::sort(ordered, {}, [](const auto& p) -> const Order& { return p.first; });
  for (size_t i = 0; i < pods.size(); ++i) pods[i] = std::move(ordered[i].second);
}

json::object pod_from_template(const json::value& pod_template, const json::value& owner) {
  json::object metadata{{"generateName", text(string_at(owner, {"metadata", "name"}) + "-")},
                        {"namespace", text(json::get_string(owner, {"metadata", "namespace"}))}};
  for (std::string_view name : {"labels", "annotations", "finalizers"})
    if (has(pod_template, {"metadata", name})) metadata[json::key(name)] = *json::at(&pod_template, {"metadata", name});
  metadata["ownerReferences"] = json::array{api::controller_reference(owner)};
  json::object pod{{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", std::move(metadata)}};
  if (const json::value* spec = json::find(&pod_template, "spec")) pod["spec"] = *spec;
  return pod;
}

Result<void> PodControl::create(const std::string& key, const json::value& owner, const json::object& pod) {
  auto made = client_.create(kPods, json::get_string(owner, {"metadata", "namespace"}), pod);
  if (made) {
    recorder_.event(owner, "Normal", "SuccessfulCreate", "Created pod: " + std::string((*made)->name()));
    return {};
  }
  expectations_.creation_observed(key);
  // Nothing to tell anyone: the namespace goes, and the owner with it.
  if (forbidden_by_ending_namespace(made.error())) return {};
  recorder_.event(owner, "Warning", "FailedCreate", "Error creating: " + made.error().message());
  return fail(made.error());
}

Result<void> PodControl::create_batch(const std::string& key, const json::value& owner, size_t count,
                                      const std::function<json::object(size_t)>& make) {
  expectations_.expect_creations(key, static_cast<int>(count));
  size_t done = 0;
  for (size_t batch = 1; done < count; batch *= 2) {
    Result<void> first;
    size_t end = std::min(count, done + batch);
    for (; done < end; ++done)
      if (auto r = create(key, owner, make(done)); !r && first) first = r;
    if (first) continue;
    for (; done < count; ++done) expectations_.creation_observed(key);
    return first;
  }
  return {};
}

Result<void> PodControl::remove(const std::string& key, const json::value& owner, const std::vector<api::ObjectPtr>& pods) {
  std::set<std::string> uids;
  for (const auto& pod : pods) uids.emplace(pod->uid());
  expectations_.expect_deletions(key, std::move(uids));
  Result<void> first;
  for (const auto& pod : pods) {
    auto r = client_.remove(kPods, pod->namespace_(), pod->name(), {.uid = std::string(pod->uid())});
    if (r) {
      recorder_.event(owner, "Normal", "SuccessfulDelete", "Deleted pod: " + std::string(pod->name()));
      continue;
    }
    expectations_.deletion_observed(key, pod->uid());
    if (r.error().is_not_found()) continue;
    recorder_.event(owner, "Warning", "FailedDelete", "Error deleting: " + r.error().message());
    if (first) first = r;
  }
  return first;
}

}  // namespace kcube::controllers
