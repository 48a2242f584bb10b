#include "pkg/controllers/deployment_rollout.h"

#include <algorithm>
#include <limits>

#include "pkg/base/strings.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers::rollout {
namespace {

int64_t annotation(const json::value& object, const char* name, int64_t fallback) {
  return parse_int<int64_t>(json::get_string(json::at(&object, {"metadata", "annotations", name}))).value_or(fallback);
}

int64_t total(const Sets& sets, std::string_view status_member) {
  int64_t sum = 0;
  for (const auto& set : sets) sum += status_of(set->value(), status_member);
  return sum;
}

int64_t total_wanted(const Sets& sets) {
  int64_t sum = 0;
  for (const auto& set : sets) sum += replicas_of(set->value());
  return sum;
}

// Equal but for the label that tells revisions apart.
bool same_template(const json::value& deployment, const json::value& set) {
  const json::value *a = json::at(&deployment, {"spec", "template"}), *b = json::at(&set, {"spec", "template"});
  if (a == nullptr || b == nullptr) return false;
  if (!equivalent(json::find(a, "spec"), json::find(b, "spec"))) return false;
  json::value x(*a), y(*b);
  for (json::value* v : {&x, &y}) {
    v->as_object().erase("spec");
    if (json::value* labels = json::find(json::find(v, "metadata"), "labels"); labels != nullptr && labels->is_object())
      labels->as_object().erase(kHashLabel);
  }
  return equivalent(&x, &y);
}

}  // namespace

int64_t replicas_of(const json::value& object) { return json::get_int(object, {"spec", "replicas"}, 1); }
int64_t status_of(const json::value& object, std::string_view name) { return json::get_int(object, {"status", name}); }
int64_t revision_of(const json::value& object) { return annotation(object, kRevision, 0); }

Limits limits_of(const json::value& deployment) {
  if (!is_rolling_update(deployment) || replicas_of(deployment) == 0) return {};
  const json::value* rolling = json::at(&deployment, {"spec", "strategy", "rollingUpdate"});
  int64_t replicas = replicas_of(deployment);
  Limits limits{resolve_percent(json::find(rolling, "maxSurge"), replicas, true, 0), resolve_percent(json::find(rolling, "maxUnavailable"), replicas, false, 0)};
  if (limits.surge == 0 && limits.unavailable == 0) limits.unavailable = 1;
  limits.unavailable = std::min(limits.unavailable, replicas);
  return limits;
}

bool is_rolling_update(const json::value& deployment) { return json::get_string(deployment, {"spec", "strategy", "type"}) != "Recreate"; }

api::ObjectPtr find_new(const json::value& deployment, const Sets& sets) {
  api::ObjectPtr found;
  for (const auto& set : sets)
    if (same_template(deployment, set->value()) &&
        (!found || std::pair(creation_time(set->value()), set->name()) < std::pair(creation_time(found->value()), found->name())))
      found = set;
  return found;
}

int64_t new_replicas(const json::value& deployment, const Sets& all, int64_t new_now) {
  int64_t wanted = replicas_of(deployment);
  if (!is_rolling_update(deployment)) return wanted;
  int64_t room = wanted + limits_of(deployment).surge - total_wanted(all);
  if (room <= 0) return new_now;
  return new_now + std::min(room, std::max<int64_t>(wanted - new_now, 0));
}

bool is_saturated(const json::value& deployment, const api::Object* set) {
  if (set == nullptr) return false;
  int64_t wanted = replicas_of(deployment);
  return replicas_of(set->value()) == wanted && annotation(set->value(), kDesired, -1) == wanted &&
         status_of(set->value(), "availableReplicas") == wanted;
}

std::vector<Scale> shrink_old(const json::value& deployment, const Sets& all, const api::ObjectPtr& now, const Sets& old) {
  std::vector<Scale> out;
  if (total_wanted(old) == 0) return out;
  int64_t min_available = replicas_of(deployment) - limits_of(deployment).unavailable;
  int64_t new_unavailable = now ? replicas_of(now->value()) - status_of(now->value(), "availableReplicas") : 0;
  int64_t may_go = total_wanted(all) - min_available - new_unavailable;
  if (may_go <= 0) return out;

  Sets ordered = old;
  std::ranges::sort(ordered, {}, [](const auto& s) { return std::pair(creation_time(s->value()), s->name()); });
  std::vector<int64_t> left;
  for (const auto& set : ordered) left.push_back(replicas_of(set->value()));
  // Pods that serve nobody cost no availability.
  int64_t cleaned = 0;
  for (size_t i = 0; i < ordered.size() && cleaned < may_go; ++i) {
    int64_t available = status_of(ordered[i]->value(), "availableReplicas");
    if (left[i] == available) continue;
    int64_t n = std::min(may_go - cleaned, left[i] - available);
    if (n <= 0) continue;
    left[i] -= n;
    cleaned += n;
  }
  int64_t spare = total(all, "availableReplicas") - min_available;
  for (size_t i = 0; i < ordered.size() && spare > 0; ++i) {
    int64_t n = std::min(left[i], spare);
    left[i] -= n;
    spare -= n;
  }
  for (size_t i = 0; i < ordered.size(); ++i)
    if (left[i] != replicas_of(ordered[i]->value())) out.push_back({ordered[i], left[i]});
  return out;
}

std::vector<Scale> proportional(const json::value& deployment, const Sets& active) {
  int64_t have = total_wanted(active), allowed = replicas_of(deployment);
  if (allowed > 0) allowed += limits_of(deployment).surge;
  int64_t to_add = allowed - have;
  Sets ordered = active;
  // Larger sets first; of equal ones the newer when growing, the older when shrinking.
  std::ranges::sort(ordered, [&](const auto& a, const auto& b) {
    int64_t x = replicas_of(a->value()), y = replicas_of(b->value());
    if (x != y) return x > y;
    auto s = creation_time(a->value()), t = creation_time(b->value());
    return to_add > 0 ? s > t : s < t;
  });
  std::vector<Scale> out;
  int64_t added = 0;
  for (const auto& set : ordered) {
    int64_t size = replicas_of(set->value()), share = 0;
    if (to_add != 0 && size != 0) {
      int64_t max_before = annotation(set->value(), kMax, 0);
      if (max_before <= 0) max_before = status_of(deployment, "replicas");
      if (max_before <= 0) max_before = have;
      int64_t grown = (2 * size * allowed + max_before) / (2 * max_before);  // rounded to nearest
      share = allowed == 0 ? -size : grown - size;
      int64_t room = to_add - added;
      share = to_add > 0 ? std::clamp<int64_t>(share, 0, std::max<int64_t>(room, 0)) : std::clamp<int64_t>(share, std::min<int64_t>(room, 0), 0);
    }
    added += share;
    out.push_back({set, size + share});
  }
  // What rounding left over goes to the largest.
  if (!out.empty() && to_add != added) out.front().replicas = std::max<int64_t>(0, out.front().replicas + to_add - added);
  return out;
}

bool is_complete(const json::value& deployment, const json::value& status) {
  int64_t wanted = replicas_of(deployment);
  return json::get_int(status, {"updatedReplicas"}) == wanted && json::get_int(status, {"replicas"}) == wanted &&
         json::get_int(status, {"availableReplicas"}) == wanted &&
         json::get_int(status, {"observedGeneration"}) >= json::get_int(deployment, {"metadata", "generation"});
}

json::object make_status(const json::value& deployment, const Sets& all, const api::Object* now, SystemTime time) {
  int64_t available = total(all, "availableReplicas"), wanted = total_wanted(all);
  int64_t unavailable = std::max<int64_t>(0, wanted - available);
  json::object status;
  status["observedGeneration"] = json::get_int(deployment, {"metadata", "generation"});
  auto put = [&](const char* name, int64_t n) {
    if (n != 0) status[name] = n;
  };
  put("replicas", total(all, "replicas"));
  put("updatedReplicas", now ? status_of(now->value(), "replicas") : 0);
  put("readyReplicas", total(all, "readyReplicas"));
  put("availableReplicas", available);
  put("unavailableReplicas", unavailable);
  status["terminatingReplicas"] = total(all, "terminatingReplicas");
  if (const json::value* c = json::at(&deployment, {"status", "collisionCount"})) status["collisionCount"] = *c;
  json::array conditions = json::get_array(json::at(&deployment, {"status", "conditions"}));
  if (available >= replicas_of(deployment) - limits_of(deployment).unavailable)
    set_condition(conditions, {"Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."}, time, true);
  else
    set_condition(conditions, {"Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."}, time, true);
  status["conditions"] = std::move(conditions);
  return status;
}

bool timed_out(const json::value& deployment, const json::value& status, SystemTime time) {
  const json::value* deadline = json::at(&deployment, {"spec", "progressDeadlineSeconds"});
  if (deadline == nullptr || deadline->is_null() || json::get_int(deadline) == std::numeric_limits<int32_t>::max()) return false;
  for (const json::value& c : json::get_array(json::find(&status, "conditions"))) {
    if (json::get_string(c, {"type"}) != "Progressing") continue;
    std::string_view reason = json::get_string(c, {"reason"});
    // A finished rollout starts no new clock until something changes.
    if (reason == "NewReplicaSetAvailable") return false;
    if (reason == "ProgressDeadlineExceeded") return true;
    return time_at(c, {"lastUpdateTime"}) + std::chrono::seconds(json::get_int(deadline)) < time;
  }
  return false;
}

void copy_replica_failure(json::object& status, const Sets& all, const api::Object* now, SystemTime time) {
  const json::value* failure = now ? find_condition(now->value(), "ReplicaFailure") : nullptr;
  for (const auto& set : all)
    if (failure == nullptr) failure = find_condition(set->value(), "ReplicaFailure");
  json::array& conditions = json::ensure_array(status, "conditions");
  if (failure == nullptr) {
    remove_condition(conditions, "ReplicaFailure");
    return;
  }
  set_condition(conditions,
                {"ReplicaFailure", json::get_string(*failure, {"status"}), json::get_string(*failure, {"reason"}), json::get_string(*failure, {"message"})},
                time, true);
}

bool set_progress(const json::value& deployment, json::object& status, const api::Object* now, SystemTime time) {
  const json::value* deadline = json::at(&deployment, {"spec", "progressDeadlineSeconds"});
  bool has_deadline = deadline != nullptr && !deadline->is_null() && json::get_int(deadline) != std::numeric_limits<int32_t>::max();
  json::array& conditions = json::ensure_array(status, "conditions");
  if (!has_deadline) {
    remove_condition(conditions, "Progressing");
    return false;
  }
  const json::value* current = nullptr;
  for (const json::value& c : conditions)
    if (json::get_string(c, {"type"}) == "Progressing") current = &c;
  std::string_view reason = current == nullptr ? std::string_view() : json::get_string(*current, {"reason"});
  json::value snapshot(status);
  bool done_before = json::get_int(snapshot, {"replicas"}) == json::get_int(snapshot, {"updatedReplicas"}) && reason == "NewReplicaSetAvailable";
  if (done_before) return false;
  std::string subject = now ? "ReplicaSet \"" + std::string(now->name()) + "\"" : "Deployment \"" + string_at(deployment, {"metadata", "name"}) + "\"";
  auto status_before = [&](std::string_view n) { return status_of(deployment, n); };
  auto status_now = [&](std::string_view n) { return json::get_int(snapshot, {n}); };
  bool progressing = status_now("updatedReplicas") > status_before("updatedReplicas") ||
                     status_now("replicas") - status_now("updatedReplicas") < status_before("replicas") - status_before("updatedReplicas") ||
                     status_now("readyReplicas") > status_before("readyReplicas") ||
                     status_now("availableReplicas") > status_before("availableReplicas");
  if (is_complete(deployment, snapshot)) {
    set_condition(conditions, {"Progressing", "True", "NewReplicaSetAvailable", subject + " has successfully progressed."}, time, true);
    return false;
  }
  if (progressing) {
    std::string message = subject + " is progressing.";
    // lastUpdateTime moves with every step: it is what the deadline counts from.
    std::string transition = current != nullptr && json::get_string(*current, {"status"}) == "True" ? string_at(*current, {"lastTransitionTime"}) : format_time(time);
    remove_condition(conditions, "Progressing");
    set_condition(conditions, {"Progressing", "True", "ReplicaSetUpdated", message}, time, true);
    conditions.back().as_object()["lastTransitionTime"] = text(transition);
  } else if (timed_out(deployment, snapshot, time)) {
    set_condition(conditions, {"Progressing", "False", "ProgressDeadlineExceeded", subject + " has timed out progressing."}, time, true);
  }
  return !timed_out(deployment, json::value(status), time);
}

}  // namespace kcube::controllers::rollout
