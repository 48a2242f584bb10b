#include "pkg/controllers/quota_usage.h"

#include <algorithm>

#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers::quota {
namespace {

api::Quantity one() { return api::Quantity::from_int(1); }

Usage resources_of(const json::value& container, const char* kind) {
  Usage out;
  for (const auto& m : json::get_object(json::at(&container, {"resources", kind}))) out[std::string(m.key())] = api::Quantity::from_json(&m.value());
  return out;
}

void raise(Usage& to, const Usage& what) {
  for (const auto& [name, amount] : what) {
    auto [it, is_new] = to.try_emplace(name, amount);
    if (!is_new && it->second < amount) it->second = amount;
  }
}

// Requests or limits of the whole pod: containers and sidecars together, or the largest moment of initialization.
Usage pod_total(const json::value& spec, const char* kind) {
  Usage running, sidecars, starting;
  for (const json::value& c : json::get_array(json::find(&spec, "containers"))) add(running, resources_of(c, kind));
  for (const json::value& c : json::get_array(json::find(&spec, "initContainers"))) {
    Usage own = resources_of(c, kind);
    if (json::get_string(c, {"restartPolicy"}) == "Always") {
      add(sidecars, own);
      raise(starting, sidecars);
    } else {
      add(own, sidecars);
      raise(starting, own);
    }
  }
  add(running, sidecars);
  raise(running, starting);
  // What the pod as a whole asks for stands above its parts.
  for (const auto& m : json::get_object(json::at(&spec, {"resources", kind}))) running[std::string(m.key())] = api::Quantity::from_json(&m.value());
  for (const auto& m : json::get_object(json::find(&spec, "overhead"))) running[std::string(m.key())] += api::Quantity::from_json(&m.value());
  return running;
}

bool is_best_effort(const json::value& spec) {
  for (const char* list : {"containers", "initContainers"})
    for (const json::value& c : json::get_array(json::find(&spec, list)))
      for (const char* kind : {"requests", "limits"})
        for (const auto& [name, amount] : resources_of(c, kind))
          if ((name == "cpu" || name == "memory") && !amount.zero()) return false;
  return true;
}

bool affinity_crosses(const json::value& spec) {
  for (const char* which : {"podAffinity", "podAntiAffinity"}) {
    auto crosses = [](const json::value& term) { return !json::get_array(json::find(&term, "namespaces")).empty() || has(term, {"namespaceSelector"}); };
    for (const json::value& t : json::get_array(json::at(&spec, {"affinity", which, "requiredDuringSchedulingIgnoredDuringExecution"})))
      if (crosses(t)) return true;
    for (const json::value& t : json::get_array(json::at(&spec, {"affinity", which, "preferredDuringSchedulingIgnoredDuringExecution"})))
      if (const json::value* term = json::find(&t, "podAffinityTerm"); term != nullptr && crosses(*term)) return true;
  }
  return false;
}

bool scope_holds(std::string_view scope, std::string_view op, const json::array& values, const json::value& spec) {
  if (scope == "Terminating") return has(spec, {"activeDeadlineSeconds"});
  if (scope == "NotTerminating") return !has(spec, {"activeDeadlineSeconds"});
  if (scope == "BestEffort") return is_best_effort(spec);
  if (scope == "NotBestEffort") return !is_best_effort(spec);
  if (scope == "CrossNamespacePodAffinity") return affinity_crosses(spec);
  if (scope != "PriorityClass") return false;
  std::string_view priority = json::get_string(spec, {"priorityClassName"});
  bool listed = std::ranges::any_of(values, [&](const json::value& v) { return json::get_string(&v) == priority; });
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  return op == "DoesNotExist" ? priority.empty() : !priority.empty();
}

}  // namespace

void add(Usage& to, const Usage& what) {
  for (const auto& [name, amount] : what) to[name] += amount;
}

Usage pod_usage(const api::Object& pod) {
  if (pod_finished(pod)) return {};
  Usage out{{"pods", one()}, {"count/pods", one()}};
  const json::value* spec = json::find(&pod.value(), "spec");
  if (spec == nullptr) return out;
  for (const auto& [name, amount] : pod_total(*spec, "requests")) {
    out["requests." + name] = amount;
    if (name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-")) out[name] = amount;
  }
  for (const auto& [name, amount] : pod_total(*spec, "limits"))
    if (name == "cpu" || name == "memory" || name == "ephemeral-storage") out["limits." + name] = amount;
  return out;
}

Usage service_usage(const json::value& service) {
  Usage out{{"services", one()}, {"count/services", one()}};
  std::string_view type = json::get_string(service, {"spec", "type"});
  int64_t ports = static_cast<int64_t>(json::get_array(json::at(&service, {"spec", "ports"})).size());
  if (type == "NodePort") out["services.nodeports"] = api::Quantity::from_int(ports);
  if (type == "LoadBalancer") {
    out["services.loadbalancers"] = one();
    int64_t node_ports = 0;
    for (const json::value& p : json::get_array(json::at(&service, {"spec", "ports"}))) node_ports += json::get_int(p, {"nodePort"}) != 0;
    out["services.nodeports"] = api::Quantity::from_int(node_ports);
  }
  return out;
}

Usage claim_usage(const json::value& claim) {
  api::Quantity storage = api::Quantity::from_json(json::at(&claim, {"spec", "resources", "requests", "storage"}));
  Usage out{{"persistentvolumeclaims", one()}, {"count/persistentvolumeclaims", one()}, {"requests.storage", storage}};
  std::string cls = string_at(claim, {"spec", "storageClassName"});
  if (cls.empty()) cls = string_at(claim, {"metadata", "annotations", "volume.beta.kubernetes.io/storage-class"});
  if (!cls.empty()) {
    out[cls + ".storageclass.storage.k8s.io/requests.storage"] = storage;
    out[cls + ".storageclass.storage.k8s.io/persistentvolumeclaims"] = one();
  }
  return out;
}

bool has_scopes(const json::value& quota) {
  return !json::get_array(json::at(&quota, {"spec", "scopes"})).empty() || !json::get_array(json::at(&quota, {"spec", "scopeSelector", "matchExpressions"})).empty();
}

bool pod_in_scope(const json::value& quota, const api::Object& pod) {
  const json::value* spec = json::find(&pod.value(), "spec");
  if (spec == nullptr) return !has_scopes(quota);
  for (const json::value& scope : json::get_array(json::at(&quota, {"spec", "scopes"})))
    if (!scope_holds(json::get_string(&scope), "Exists", {}, *spec)) return false;
  for (const json::value& e : json::get_array(json::at(&quota, {"spec", "scopeSelector", "matchExpressions"})))
    if (!scope_holds(json::get_string(e, {"scopeName"}), json::get_string(e, {"operator"}), json::get_array(json::find(&e, "values")), *spec)) return false;
  return true;
}

}  // namespace kcube::controllers::quota
