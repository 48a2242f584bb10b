// Filters and scores. Each filter says why a node does not fit, in the words of kube-scheduler's events.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pkg/scheduler/node_info.h"

namespace kcube::scheduler {

// The pod under decision and the cluster around it.
struct Cycle {
  const core::v1::Pod& pod;
  Resources requests;
  std::vector<HostPort> ports;
  const std::map<std::string, NodeInfo>& nodes;
  std::function<api::ObjectPtr(std::string_view key)> claim;          // PersistentVolumeClaim "ns/name"
  std::function<api::ObjectPtr(std::string_view name)> volume;        // PersistentVolume
  std::function<api::ObjectPtr(std::string_view name)> storage_class;
  std::function<api::ObjectPtr(std::string_view name)> name_space;
};

// Empty when the pod fits. `permanent` is set when no eviction there could help.
std::string filter(const Cycle& cycle, const NodeInfo& node, bool* permanent = nullptr);

// Higher is better. `fitting` are the nodes that passed; the result has one score each.
std::vector<double> score(const Cycle& cycle, const std::vector<const NodeInfo*>& fitting);

// Why the pod as a whole cannot be scheduled anywhere (a claim that does not exist), or empty.
std::string pre_filter(const Cycle& cycle);

bool tolerates(const core::v1::Toleration& toleration, const core::v1::Taint& taint);
bool matches_node_selector_term(const core::v1::NodeSelectorTerm& term, const core::v1::Node& node);

}  // namespace kcube::scheduler
