#include "pkg/scheduler/plugins.h"

#include <algorithm>
#include <cmath>

#include "pkg/api/selector.h"
#include "pkg/base/strings.h"

namespace kcube::scheduler {
namespace {

using api::LabelSelector;

std::string label_of(const api::Object& node, std::string_view key, bool& present) {
  for (const auto& [k, v] : node.labels())
    if (k == key) {
      present = true;
      return v;
    }
  present = false;
  return {};
}

// --- One filter a function; empty text: fits ---

std::string filter_unschedulable(const Cycle& cycle, const NodeInfo& info) {
  core::v1::Node node(info.node->value());
  if (!node.spec().unschedulable()) return {};
  for (auto t : cycle.pod.spec().tolerations())
    if ((t.key().empty() || t.key() == "node.kubernetes.io/unschedulable") && (t.operator_() == "Exists" || t.key().empty()) &&
        (t.effect().empty() || t.effect() == "NoSchedule"))
      return {};
  return "node(s) were unschedulable";
}

std::string filter_taints(const Cycle& cycle, const NodeInfo& info) {
  for (auto taint : core::v1::Node(info.node->value()).spec().taints()) {
    if (taint.effect() != "NoSchedule" && taint.effect() != "NoExecute") continue;
    bool tolerated = false;
    for (auto t : cycle.pod.spec().tolerations()) tolerated = tolerated || tolerates(t, taint);
    if (!tolerated) return "node(s) had untolerated taint {" + std::string(taint.key()) + ": " + std::string(taint.value()) + "}";
  }
  return {};
}

std::string filter_node_affinity(const Cycle& cycle, const NodeInfo& info) {
  constexpr const char* kReason = "node(s) didn't match Pod's node affinity/selector";
  for (const auto& [key, value] : cycle.pod.spec().node_selector()) {
    bool present;
    if (label_of(*info.node, key, present) != value || !present) return kReason;
  }
  auto required = cycle.pod.spec().affinity().node_affinity().required_during_scheduling_ignored_during_execution();
  if (!required) return {};
  core::v1::Node node(info.node->value());
  for (auto term : required.node_selector_terms())
    if (matches_node_selector_term(term, node)) return {};
  return kReason;
}

std::string filter_ports(const Cycle& cycle, const NodeInfo& info) {
  if (cycle.ports.empty()) return {};
  for (const auto& [key, pod] : info.pods)
    for (const HostPort& used : host_ports(core::v1::Pod(pod->value())))
      for (const HostPort& wanted : cycle.ports)
        if (conflicts(used, wanted)) return "node(s) didn't have free ports for the requested pod ports";
  return {};
}

std::string filter_resources(const Cycle& cycle, const NodeInfo& info) {
  std::vector<std::string> lacking;
  if (static_cast<int64_t>(info.pods.size()) + 1 > info.max_pods) lacking.emplace_back("Too many pods");
  const Resources& want = cycle.requests;
  if (want.cpu_millis > 0 && want.cpu_millis > info.allocatable.cpu_millis - info.requested.cpu_millis) lacking.emplace_back("Insufficient cpu");
  if (want.memory_bytes > 0 && want.memory_bytes > info.allocatable.memory_bytes - info.requested.memory_bytes) lacking.emplace_back("Insufficient memory");
  if (want.ephemeral_bytes > 0 && want.ephemeral_bytes > info.allocatable.ephemeral_bytes - info.requested.ephemeral_bytes)
    lacking.emplace_back("Insufficient ephemeral-storage");
  for (const auto& [name, amount] : want.others) {
    auto has = info.allocatable.others.find(name);
    auto used = info.requested.others.find(name);
    int64_t free = (has == info.allocatable.others.end() ? 0 : has->second) - (used == info.requested.others.end() ? 0 : used->second);
    if (amount > 0 && amount > free) lacking.push_back("Insufficient " + name);
  }
  return join(lacking, ", ");
}

// Volumes that are tied to some nodes (local volumes, node affinity of a bound PersistentVolume).
std::string filter_volumes(const Cycle& cycle, const NodeInfo& info) {
  for (auto v : cycle.pod.spec().volumes()) {
    auto source = v.persistent_volume_claim();
    if (!source || !cycle.claim) continue;
    auto claim = cycle.claim(api::object_key(cycle.pod.metadata().namespace_(), source.claim_name()));
    if (!claim) continue;
    auto volume = cycle.volume(core::v1::PersistentVolumeClaim(claim->value()).spec().volume_name());
    if (!volume) continue;
    auto required = core::v1::PersistentVolume(volume->value()).spec().node_affinity().required();
    if (!required) continue;
    core::v1::Node node(info.node->value());
    bool matched = false;
    for (auto term : required.node_selector_terms()) matched = matched || matches_node_selector_term(term, node);
    if (!matched) return "node(s) didn't match PersistentVolume's node affinity";
  }
  return {};
}

// --- Topology: spread and inter-pod affinity ---

bool selects(const Cycle& cycle, const core::v1::PodAffinityTerm& term, std::string_view own_ns, const api::Object& pod) {
  bool in_namespace = false;
  if (term.namespaces().empty() && !term.has_namespace_selector()) in_namespace = pod.namespace_() == own_ns;
  for (std::string_view ns : term.namespaces()) in_namespace = in_namespace || ns == pod.namespace_();
  if (!in_namespace && term.has_namespace_selector() && cycle.name_space) {
    auto ns = cycle.name_space(pod.namespace_());
    auto selector = LabelSelector::from_json(term.namespace_selector().json());
    in_namespace = ns && selector && selector->matches(ns->labels());
  }
  if (!in_namespace) return false;
  auto selector = LabelSelector::from_json(term.label_selector().json());
  return selector && selector->matches(pod.labels());
}

// True when some node of the same topology value as `info` has a pod that the term selects.
bool topology_has(const Cycle& cycle, const core::v1::PodAffinityTerm& term, std::string_view own_ns, const NodeInfo& info) {
  bool present;
  std::string value = label_of(*info.node, term.topology_key(), present);
  if (!present) return false;
  for (const auto& [name, other] : cycle.nodes) {
    bool there;
    if (!other.node || label_of(*other.node, term.topology_key(), there) != value || !there) continue;
    for (const auto& [key, pod] : other.pods)
      if (selects(cycle, term, own_ns, *pod)) return true;
  }
  return false;
}

bool anywhere(const Cycle& cycle, const core::v1::PodAffinityTerm& term, std::string_view own_ns) {
  for (const auto& [name, other] : cycle.nodes)
    for (const auto& [key, pod] : other.pods)
      if (selects(cycle, term, own_ns, *pod)) return true;
  return false;
}

bool selects_itself(const core::v1::PodAffinityTerm& term, const core::v1::Pod& pod) {
  auto selector = LabelSelector::from_json(term.label_selector().json());
  return selector && selector->matches(json::at(pod.json(), {"metadata", "labels"})) && (term.namespaces().empty() || [&] {
           for (std::string_view ns : term.namespaces())
             if (ns == pod.metadata().namespace_()) return true;
           return false;
         }());
}

std::string filter_pod_affinity(const Cycle& cycle, const NodeInfo& info) {
  auto affinity = cycle.pod.spec().affinity();
  std::string_view ns = cycle.pod.metadata().namespace_();
  for (auto term : affinity.pod_affinity().required_during_scheduling_ignored_during_execution()) {
    if (topology_has(cycle, term, ns, info)) continue;
    // The first of a group that wants to be together may go anywhere.
    if (!anywhere(cycle, term, ns) && selects_itself(term, cycle.pod)) continue;
    return "node(s) didn't match pod affinity rules";
  }
  for (auto term : affinity.pod_anti_affinity().required_during_scheduling_ignored_during_execution())
    if (topology_has(cycle, term, ns, info)) return "node(s) didn't match pod anti-affinity rules";
  return {};
}

// Pods already there that do not want this one near.
std::string filter_existing_anti_affinity(const Cycle& cycle, const NodeInfo& info) {
  auto self = api::Object::from_value(*cycle.pod.json());
  if (!self) return {};
  for (const auto& [name, other] : cycle.nodes) {
    if (!other.node) continue;
    for (const auto& [key, pod] : other.pods) {
      core::v1::Pod existing(pod->value());
      for (auto term : existing.spec().affinity().pod_anti_affinity().required_during_scheduling_ignored_during_execution()) {
        bool here, there;
        std::string a = label_of(*info.node, term.topology_key(), here), b = label_of(*other.node, term.topology_key(), there);
        if (here && there && a == b && selects(cycle, term, existing.metadata().namespace_(), **self))
          return "node(s) didn't satisfy existing pods anti-affinity rules";
      }
    }
  }
  return {};
}

// Pods per topology value that a constraint counts.
std::map<std::string, int64_t> spread_counts(const Cycle& cycle, const core::v1::TopologySpreadConstraint& constraint) {
  std::map<std::string, int64_t> counts;
  auto selector = LabelSelector::from_json(constraint.label_selector().json());
  for (const auto& [name, info] : cycle.nodes) {
    if (!info.node) continue;
    bool present;
    std::string value = label_of(*info.node, constraint.topology_key(), present);
    if (!present) continue;
    bool honor_affinity = constraint.node_affinity_policy() != "Ignore";
    if (honor_affinity && !filter_node_affinity(cycle, info).empty()) continue;
    if (constraint.node_taints_policy() == "Honor" && !filter_taints(cycle, info).empty()) continue;
    int64_t& count = counts[value];
    for (const auto& [key, pod] : info.pods)
      if (selector && pod->namespace_() == cycle.pod.metadata().namespace_() && !pod->deleting() && selector->matches(pod->labels())) ++count;
  }
  return counts;
}

std::string filter_spread(const Cycle& cycle, const NodeInfo& info) {
  for (auto constraint : cycle.pod.spec().topology_spread_constraints()) {
    if (constraint.when_unsatisfiable() != "DoNotSchedule") continue;
    bool present;
    std::string value = label_of(*info.node, constraint.topology_key(), present);
    if (!present) return "node(s) didn't match pod topology spread constraints (missing required label)";
    auto counts = spread_counts(cycle, constraint);
    int64_t least = INT64_MAX;
    for (const auto& [v, n] : counts) least = std::min(least, n);
    if (static_cast<int64_t>(counts.size()) < constraint.min_domains(1)) least = 0;
    if (least == INT64_MAX) least = 0;
    auto selector = LabelSelector::from_json(constraint.label_selector().json());
    int64_t self = selector && selector->matches(json::at(cycle.pod.json(), {"metadata", "labels"})) ? 1 : 0;
    if (counts[value] + self - least > constraint.max_skew(1)) return "node(s) didn't match pod topology spread constraints";
  }
  return {};
}

std::string filter_name(const Cycle&, const NodeInfo& info) { return info.node ? "" : "node(s) not found"; }

struct Filter {
  std::string (*run)(const Cycle&, const NodeInfo&);
  bool permanent;   // evicting pods does not help
};
constexpr Filter kFilters[] = {
    {filter_name, true}, {filter_unschedulable, true}, {filter_taints, true}, {filter_node_affinity, true}, {filter_volumes, true},
    {filter_ports, false}, {filter_resources, false}, {filter_spread, false}, {filter_pod_affinity, false}, {filter_existing_anti_affinity, false},
};

double fraction(int64_t used, int64_t of) { return of <= 0 ? 1 : std::min(1.0, static_cast<double>(used) / static_cast<double>(of)); }

}  // namespace

bool tolerates(const core::v1::Toleration& t, const core::v1::Taint& taint) {
  if (!t.effect().empty() && t.effect() != taint.effect()) return false;
  if (!t.key().empty() && t.key() != taint.key()) return false;
  if (t.operator_() == "Exists") return true;
  if (t.key().empty()) return false;
  return t.value() == taint.value();
}

bool matches_node_selector_term(const core::v1::NodeSelectorTerm& term, const core::v1::Node& node) {
  if (term.match_expressions().empty() && term.match_fields().empty()) return false;
  auto matches = [](const core::v1::NodeSelectorRequirement& r, const std::string* value) {
    std::string_view op = r.operator_();
    auto listed = [&] {
      for (std::string_view v : r.values())
        if (value != nullptr && v == *value) return true;
      return false;
    };
    if (op == "In") return listed();
    if (op == "NotIn") return !listed();
    if (op == "Exists") return value != nullptr;
    if (op == "DoesNotExist") return value == nullptr;
    if (value == nullptr || r.values().empty()) return false;
    auto a = parse_int<int64_t>(*value), b = parse_int<int64_t>(r.values()[0]);
    if (!a || !b) return false;
    return op == "Gt" ? *a > *b : op == "Lt" && *a < *b;
  };
  for (auto r : term.match_expressions()) {
    const json::value* v = json::at(node.json(), {"metadata", "labels", r.key()});
    std::string text(json::get_string(v));
    if (!matches(r, v == nullptr ? nullptr : &text)) return false;
  }
  for (auto r : term.match_fields()) {
    std::string name(node.metadata().name());
    if (r.key() != "metadata.name" || !matches(r, &name)) return false;
  }
  return true;
}

std::string pre_filter(const Cycle& cycle) {
  for (auto v : cycle.pod.spec().volumes()) {
    auto source = v.persistent_volume_claim();
    if (!source || !cycle.claim) continue;
    auto claim = cycle.claim(api::object_key(cycle.pod.metadata().namespace_(), source.claim_name()));
    if (!claim) return "persistentvolumeclaim \"" + std::string(source.claim_name()) + "\" not found";
    if (claim->deleting()) return "persistentvolumeclaim \"" + std::string(source.claim_name()) + "\" is being deleted";
    core::v1::PersistentVolumeClaim view(claim->value());
    if (!view.spec().volume_name().empty()) continue;
    auto storage_class = cycle.storage_class(view.spec().storage_class_name());
    bool waits = storage_class && json::get_string(storage_class->value(), {"volumeBindingMode"}) == "WaitForFirstConsumer";
    if (!waits) return "pod has unbound immediate PersistentVolumeClaims";
  }
  return {};
}

std::string filter(const Cycle& cycle, const NodeInfo& node, bool* permanent) {
  for (const Filter& f : kFilters) {
    std::string reason = f.run(cycle, node);
    if (reason.empty()) continue;
    if (permanent != nullptr) *permanent = f.permanent;
    return reason;
  }
  return {};
}

std::vector<double> score(const Cycle& cycle, const std::vector<const NodeInfo*>& fitting) {
  std::vector<double> out(fitting.size(), 0);
  for (size_t i = 0; i < fitting.size(); ++i) {
    const NodeInfo& info = *fitting[i];
    // Room left, and cpu and memory used alike. Weights as in the default profile.
    double cpu = fraction(info.requested.cpu_millis + cycle.requests.cpu_millis, info.allocatable.cpu_millis);
    double memory = fraction(info.requested.memory_bytes + cycle.requests.memory_bytes, info.allocatable.memory_bytes);
    out[i] += 100 * (2 - cpu - memory) / 2;
    out[i] += 100 * (1 - std::abs(cpu - memory) / 2);
    // Pods that ask for nothing are spread by their number.
    out[i] += 10 * (1 - fraction(static_cast<int64_t>(info.pods.size()), info.max_pods));

    core::v1::Node node(info.node->value());
    for (auto preferred : cycle.pod.spec().affinity().node_affinity().preferred_during_scheduling_ignored_during_execution())
      if (matches_node_selector_term(preferred.preference(), node)) out[i] += 2.0 * static_cast<double>(preferred.weight());
    for (auto taint : node.spec().taints()) {
      if (taint.effect() != "PreferNoSchedule") continue;
      bool tolerated = false;
      for (auto t : cycle.pod.spec().tolerations()) tolerated = tolerated || tolerates(t, taint);
      if (!tolerated) out[i] -= 300;
    }
    std::string_view ns = cycle.pod.metadata().namespace_();
    auto affinity = cycle.pod.spec().affinity();
    for (auto p : affinity.pod_affinity().preferred_during_scheduling_ignored_during_execution())
      if (topology_has(cycle, p.pod_affinity_term(), ns, info)) out[i] += 2.0 * static_cast<double>(p.weight());
    for (auto p : affinity.pod_anti_affinity().preferred_during_scheduling_ignored_during_execution())
      if (topology_has(cycle, p.pod_affinity_term(), ns, info)) out[i] -= 2.0 * static_cast<double>(p.weight());
    for (auto constraint : cycle.pod.spec().topology_spread_constraints()) {
      if (constraint.when_unsatisfiable() != "ScheduleAnyway") continue;
      bool present;
      std::string value = label_of(*info.node, constraint.topology_key(), present);
      auto counts = spread_counts(cycle, constraint);
      out[i] -= present ? 20.0 * static_cast<double>(counts[value]) : 200.0;
    }
    // Pods of the same controller apart from each other, unless the pod says otherwise itself.
    if (cycle.pod.spec().topology_spread_constraints().empty()) {
      std::string owner = api::controller_of(*cycle.pod.json()).uid;
      if (!owner.empty())
        for (const auto& [key, pod] : info.pods)
          if (api::controller_of(pod->value()).uid == owner) out[i] -= 20;
    }
    // A node that has the image saves a pull.
    for (auto image : node.status().images())
      for (std::string_view name : image.names())
        for (auto c : cycle.pod.spec().containers())
          if (name == c.image() || name.ends_with("/" + std::string(c.image()))) out[i] += 5;
  }
  return out;
}

}  // namespace kcube::scheduler
