#include "pkg/api/quota.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace kcube::api::quota {
namespace {

Quantity one() { return Quantity::from_int(1); }

Usage resources_of(const json::value& container, const char* kind) {
  Usage out;
  for (const auto& m : json::get_object(json::at(&container, {"resources", kind}))) out[std::string(m.key())] = Quantity::from_json(&m.value());
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
  for (const auto& m : json::get_object(json::at(&spec, {"resources", kind}))) running[std::string(m.key())] = Quantity::from_json(&m.value());
  // Overhead raises a limit that is there, and makes none.
  for (const auto& m : json::get_object(json::find(&spec, "overhead"))) {
    std::string name(m.key());
    if (std::string_view(kind) == "limits" && running[name].zero()) running.erase(name);
    else running[name] += Quantity::from_json(&m.value());
  }
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
    auto crosses = [](const json::value& term) { return !json::get_array(json::find(&term, "namespaces")).empty() || json::find(&term, "namespaceSelector") != nullptr; };
    for (const json::value& t : json::get_array(json::at(&spec, {"affinity", which, "requiredDuringSchedulingIgnoredDuringExecution"})))
      if (crosses(t)) return true;
    for (const json::value& t : json::get_array(json::at(&spec, {"affinity", which, "preferredDuringSchedulingIgnoredDuringExecution"})))
      if (const json::value* term = json::find(&t, "podAffinityTerm"); term != nullptr && crosses(*term)) return true;
  }
  return false;
}

// In, NotIn, Exists, DoesNotExist about a name that may be absent.
bool name_holds(std::string_view name, std::string_view op, const json::array& values) {
  bool listed = std::ranges::any_of(values, [&](const json::value& v) { return json::get_string(&v) == name; });
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  return op == "DoesNotExist" ? name.empty() : !name.empty();
}

bool pod_scope_holds(std::string_view scope, std::string_view op, const json::array& values, const json::value& spec) {
  const json::value* deadline = json::find(&spec, "activeDeadlineSeconds");
  if (scope == "Terminating") return deadline != nullptr && json::get_int(deadline) >= 0;
  if (scope == "NotTerminating") return deadline == nullptr || json::get_int(deadline) < 0;
  if (scope == "BestEffort") return is_best_effort(spec);
  if (scope == "NotBestEffort") return !is_best_effort(spec);
  if (scope == "CrossNamespacePodAffinity") return affinity_crosses(spec);
  return scope == "PriorityClass" && name_holds(json::get_string(spec, {"priorityClassName"}), op, values);
}

bool claim_scope_holds(std::string_view scope, std::string_view op, const json::array& values, const json::value& spec) {
  return scope == "VolumeAttributesClass" && name_holds(json::get_string(spec, {"volumeAttributesClassName"}), op, values);
}

template <typename Holds>
bool in_scope(const json::value& quota, const json::value& object, const Holds& holds) {
  const json::value* spec = json::find(&object, "spec");
  if (spec == nullptr) return !has_scopes(quota);
  for (const json::value& scope : json::get_array(json::at(&quota, {"spec", "scopes"})))
    if (!holds(json::get_string(&scope), "Exists", json::array(), *spec)) return false;
  for (const json::value& e : json::get_array(json::at(&quota, {"spec", "scopeSelector", "matchExpressions"})))
    if (!holds(json::get_string(e, {"scopeName"}), json::get_string(e, {"operator"}), json::get_array(json::find(&e, "values")), *spec)) return false;
  return true;
}

bool finished(const json::value& pod) {
  std::string_view phase = json::get_string(pod, {"status", "phase"});
  return phase == "Succeeded" || phase == "Failed";
}

Usage of_resources(const Usage& requests, const Usage& limits) {
  Usage out;
  for (const auto& [name, amount] : requests) {
    out["requests." + name] = amount;
    if (name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-")) out[name] = amount;
  }
  for (const auto& [name, amount] : limits)
    if (name == "cpu" || name == "memory" || name == "ephemeral-storage") out["limits." + name] = amount;
  return out;
}

// What a quota may oblige every container to state.
constexpr std::string_view kObliging[] = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"};

}  // namespace

void add(Usage& to, const Usage& what) {
  for (const auto& [name, amount] : what) to[name] += amount;
}

Usage pod_usage(const json::value& pod) {
  Usage out{{"count/pods", one()}};
  if (finished(pod)) return out;
  out["pods"] = one();
  const json::value* spec = json::find(&pod, "spec");
  if (spec != nullptr) add(out, of_resources(pod_total(*spec, "requests"), pod_total(*spec, "limits")));
  return out;
}

Usage service_usage(const json::value& service) {
  Usage out{{"services", one()}, {"count/services", one()}};
  std::string_view type = json::get_string(service, {"spec", "type"});
  int64_t ports = static_cast<int64_t>(json::get_array(json::at(&service, {"spec", "ports"})).size());
  if (type == "NodePort") out["services.nodeports"] = Quantity::from_int(ports);
  if (type == "LoadBalancer") {
    out["services.loadbalancers"] = one();
    int64_t node_ports = 0;
    for (const json::value& p : json::get_array(json::at(&service, {"spec", "ports"}))) node_ports += json::get_int(p, {"nodePort"}) != 0;
    out["services.nodeports"] = Quantity::from_int(node_ports);
  }
  return out;
}

Usage claim_usage(const json::value& claim) {
  Quantity storage = Quantity::from_json(json::at(&claim, {"spec", "resources", "requests", "storage"}));
  Usage out{{"persistentvolumeclaims", one()}, {"count/persistentvolumeclaims", one()}, {"requests.storage", storage}};
  std::string cls = std::string(json::get_string(claim, {"spec", "storageClassName"}));
  if (cls.empty()) cls = json::get_string(claim, {"metadata", "annotations", "volume.beta.kubernetes.io/storage-class"});
  if (!cls.empty()) {
    out[cls + ".storageclass.storage.k8s.io/requests.storage"] = storage;
    out[cls + ".storageclass.storage.k8s.io/persistentvolumeclaims"] = one();
  }
  return out;
}

bool has_scopes(const json::value& quota) {
  return !json::get_array(json::at(&quota, {"spec", "scopes"})).empty() || !json::get_array(json::at(&quota, {"spec", "scopeSelector", "matchExpressions"})).empty();
}

bool pod_in_scope(const json::value& quota, const json::value& pod) { return in_scope(quota, pod, pod_scope_holds); }
bool claim_in_scope(const json::value& quota, const json::value& claim) { return in_scope(quota, claim, claim_scope_holds); }

Usage object_usage(std::string_view group, std::string_view resource) {
  std::string name(resource);
  Usage out{{"count/" + name + (group.empty() ? "" : "." + std::string(group)), one()}};
  for (std::string_view known : {"configmaps", "secrets", "replicationcontrollers", "resourcequotas"})
    if (group.empty() && resource == known) out[name] = one();
  return out;
}

std::string missing_of(const json::value& hard, const json::value& pod) {
  std::set<std::string> required;
  for (std::string_view name : kObliging)
    if (json::find(&hard, name) != nullptr) required.emplace(name);
  const json::value* spec = json::find(&pod, "spec");
  if (required.empty() || spec == nullptr) return {};
  Usage whole = of_resources(resources_of(*spec, "requests"), resources_of(*spec, "limits"));
  std::map<std::string, std::set<std::string>> missing;   // by resource, the containers
  for (const char* list : {"containers", "initContainers"}) {
    for (const json::value& c : json::get_array(json::find(spec, list))) {
      Usage own = of_resources(resources_of(c, "requests"), resources_of(c, "limits"));
      for (const std::string& name : required)
        if (!own.contains(name) && !whole.contains(name)) missing[name].emplace(json::get_string(c, {"name"}));
    }
  }
  std::string text;
  for (const auto& [name, containers] : missing) {
    text += text.empty() ? "must specify " : "; ";
    text += name + " for: ";
    bool first = true;
    for (const std::string& c : containers) text += (std::exchange(first, false) ? "" : ",") + c;
  }
  return text;
}

}  // namespace kcube::api::quota
