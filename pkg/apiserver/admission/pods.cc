// What pods and nodes are given: DefaultTolerationSeconds, Priority, TaintNodesByCondition, PodTopologyLabels,
// ExtendedResourceToleration; and LimitPodHardAntiAffinityTopology.
#include <algorithm>
#include <set>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kScheduling = "scheduling.k8s.io";

bool tolerates(const json::value* tolerations, std::string_view key) {
  for (const json::value& t : json::get_array(tolerations)) {
    std::string_view k = json::get_string(t, {"key"}), effect = json::get_string(t, {"effect"});
    if ((k.empty() || k == key) && (effect.empty() || effect == "NoExecute")) return true;
  }
  return false;
}

Result<void> add_tolerations(Admission& a) {
  // On updates too: a client that writes the list anew loses none of them.
  if (!a.is("", "pods") || a.object == nullptr) return {};
  json::object& spec = json::ensure_object(a.object->get_object(), "spec");
  for (const char* key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    if (tolerates(spec.if_contains("tolerations"), key)) continue;
    json::ensure_array(spec, "tolerations").push_back(json::object{{"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}});
  }
  return {};
}

ObjectPtr default_class(const Core& core) {
  ObjectPtr best;
  for (SnapshotPtr all = core.cache.find(kScheduling, "priorityclasses")->snapshot(); const ObjectPtr& c : all->objects) {
    if (!json::get_bool(c->value(), {"globalDefault"})) continue;
    if (!best || json::get_int(c->value(), {"value"}) < json::get_int(best->value(), {"value"})) best = c;
  }
  return best;
}

Result<void> set_priority(Admission& a) {
  if (!a.is("", "pods") || a.object == nullptr) return {};
  json::object& spec = json::ensure_object(a.object->get_object(), "spec");
  if (a.operation == Operation::update) {
    // What was worked out when the pod was made stays for who leaves it out.
    for (std::string_view member : {"priority", "preemptionPolicy"})
      if (const json::value* had = json::at(a.old, {"spec", member}); had != nullptr) spec.emplace(member, *had);
    return {};
  }
  if (a.operation != Operation::create) return {};
  std::string name(json::get_string(spec.if_contains("priorityClassName")));
  ObjectPtr chosen;
  if (name.empty()) {
    chosen = default_class(a.core);
    if (chosen) spec["priorityClassName"] = json::key(chosen->name());
  } else {
    chosen = a.core.get(kScheduling, "priorityclasses", "", name);
    if (!chosen) return a.forbid("no PriorityClass with name " + name + " was found");
  }
  int64_t value = chosen ? json::get_int(chosen->value(), {"value"}) : 0;
  if (const json::value* asked = spec.if_contains("priority"); asked != nullptr && json::get_int(asked) != value)
    return a.forbid("the integer value of priority (" + std::to_string(json::get_int(asked)) + ") must not be provided in pod spec; priority admission controller computed " +
                    std::to_string(value) + " from the given PriorityClass name");
  spec["priority"] = value;
  std::string policy(chosen ? json::get_string(chosen->value(), {"preemptionPolicy"}) : "");
  if (policy.empty()) policy = "PreemptLowerPriority";
  if (const json::value* asked = spec.if_contains("preemptionPolicy"); asked != nullptr && json::get_string(asked) != policy)
    return a.forbid("the string value of PreemptionPolicy (" + std::string(json::get_string(asked)) + ") must not be provided in pod spec; priority admission controller computed " +
                    policy + " from the given PriorityClass name");
  spec["preemptionPolicy"] = policy;
  return {};
}

// One PriorityClass at most is the default.
Result<void> check_class(Admission& a) {
  if (!a.is(kScheduling, "priorityclasses") || a.object == nullptr || !json::get_bool(*a.object, {"globalDefault"})) return {};
  ObjectPtr other = default_class(a.core);
  if (other && other->name() != a.call.name)
    return a.forbid("PriorityClass " + std::string(other->name()) + " is already marked as default. Only one default can exist");
  return {};
}

// A new node takes no pods until it has said that it is ready.
Result<void> taint_new_node(Admission& a) {
  if (!a.is("", "nodes") || a.operation != Operation::create) return {};
  constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
  json::array& taints = json::ensure_array(json::ensure_object(a.object->get_object(), "spec"), "taints");
  for (const json::value& t : taints)
    if (json::get_string(t, {"key"}) == kNotReady && json::get_string(t, {"effect"}) == "NoSchedule") return {};
  taints.push_back(json::object{{"key", json::key(kNotReady)}, {"effect", "NoSchedule"}});
  return {};
}

// Where the node of a pod is, on the pod: by its binding, or when it is made with a node.
Result<void> copy_topology(Admission& a) {
  const Resource& r = *a.call.resource;
  bool binding = r.is("", "bindings") || (r.is("", "pods") && r.subresource() == "binding");
  if (a.operation != Operation::create || a.object == nullptr || !(binding || a.is("", "pods"))) return {};
  std::string_view name = binding ? json::get_string(*a.object, {"target", "name"}) : json::get_string(*a.object, {"spec", "nodeName"});
  ObjectPtr node = name.empty() ? nullptr : a.core.get("", "nodes", "", name);
  if (!node) return {};
  for (const char* key : {"topology.kubernetes.io/zone", "topology.kubernetes.io/region"})
    if (std::string_view value = node->label(key); !value.empty()) json::ensure_path(*a.object, {"metadata", "labels"})[key] = json::key(value);
  return {};
}

Result<void> check_anti_affinity(Admission& a) {
  if (!a.is("", "pods") || a.object == nullptr) return {};
  for (const json::value& term : json::get_array(json::at(a.object, {"spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"}))) {
    std::string key(json::get_string(term, {"topologyKey"}));
    if (key != "kubernetes.io/hostname")
      return a.forbid("affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey " + key + " but only key kubernetes.io/hostname is allowed");
  }
  return {};
}

// Nodes with special hardware are tainted with the resource's name; who asks for the resource may go there.
Result<void> tolerate_resources(Admission& a) {
  if (!a.is("", "pods") || a.object == nullptr) return {};
  json::object& spec = json::ensure_object(a.object->get_object(), "spec");
  std::set<std::string> wanted;
  for (const char* list : {"initContainers", "containers"})
    for (const json::value& c : json::get_array(spec.if_contains(list)))
      for (const auto& m : json::get_object(json::at(&c, {"resources", "requests"}))) {
        std::string_view name = json::view(m.key());
        if (name.find('/') != std::string_view::npos && name.find("kubernetes.io/") == std::string_view::npos) wanted.emplace(name);
      }
  for (const std::string& name : wanted) {
    json::value toleration = json::object{{"key", name}, {"operator", "Exists"}, {"effect", "NoSchedule"}};
    json::array& own = json::ensure_array(spec, "tolerations");
    if (std::ranges::find(own, toleration) == own.end()) own.push_back(std::move(toleration));
  }
  return {};
}

}  // namespace

const AdmissionPlugin kPodTopologyLabels{"PodTopologyLabels", copy_topology, nullptr};
const AdmissionPlugin kLimitPodHardAntiAffinityTopology{"LimitPodHardAntiAffinityTopology", nullptr, check_anti_affinity};
const AdmissionPlugin kExtendedResourceToleration{"ExtendedResourceToleration", tolerate_resources, nullptr};
const AdmissionPlugin kDefaultTolerationSeconds{"DefaultTolerationSeconds", add_tolerations, nullptr};
const AdmissionPlugin kPriority{"Priority", set_priority, check_class};
const AdmissionPlugin kTaintNodesByCondition{"TaintNodesByCondition", taint_new_node, nullptr};

}  // namespace kcube::apiserver
