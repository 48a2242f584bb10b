#include "pkg/kubelet/pod_resources.h"

#include <algorithm>

#include "pkg/api/quantity.h"

namespace kcube::kubelet {
namespace {

json::value resources_of(const core::v1::Container& c) {
  const json::value* resources = json::find(c.json(), "resources");
  return resources != nullptr ? *resources : json::value(json::object());
}

}  // namespace

PodResources::PodResources(const core::v1::Pod& pod) {
  grant(pod);
  for (auto& [name, amounts] : containers_) amounts.actual = amounts.granted;
  auto recall = [&](core::v1::ContainerStatus s) {
    auto it = containers_.find(s.name());
    const json::value* had = json::find(s.json(), "resources");
    if (it == containers_.end() || had == nullptr || s.container_id().empty()) return;
    it->second.granted = it->second.actual = *had;
  };
  for (auto s : pod.status().container_statuses()) recall(s);
  for (auto s : pod.status().init_container_statuses()) recall(s);
}

bool PodResources::asks_for_more(const core::v1::Pod& pod) const {
  auto differs = [&](const core::v1::Container& c) {
    const json::value& had = find(c.name()).granted;
    return !had.is_null() && !changed_resources(had, resources_of(c)).empty();
  };
  for (auto c : pod.spec().containers())
    if (differs(c)) return true;
  for (auto c : pod.spec().init_containers())
    if (differs(c)) return true;
  return false;
}

void PodResources::grant(const core::v1::Pod& pod) {
  for (auto c : pod.spec().containers()) containers_[std::string(c.name())].granted = resources_of(c);
  for (auto c : pod.spec().init_containers()) containers_[std::string(c.name())].granted = resources_of(c);
}

json::value PodResources::granted(const core::v1::Pod& pod) const {
  json::value out = *pod.json();
  json::object& spec = json::ensure_object(out.get_object(), "spec");
  for (const char* list : {"containers", "initContainers"}) {
    json::value* members = spec.if_contains(list);
    if (members == nullptr) continue;
    for (json::value& c : members->get_array())
      if (const json::value& had = find(json::get_string(c, {"name"})).granted; !had.is_null()) c.get_object()["resources"] = had;
  }
  return out;
}

bool PodResources::settled() const {
  return std::ranges::all_of(containers_, [](const auto& entry) { return entry.second.granted == entry.second.actual; });
}

void PodResources::applied(std::string_view container) {
  if (auto it = containers_.find(container); it != containers_.end()) it->second.actual = it->second.granted;
}

const PodResources::Amounts& PodResources::find(std::string_view container) const {
  static const Amounts kNone;
  auto it = containers_.find(container);
  return it == containers_.end() ? kNone : it->second;
}

std::vector<std::string> changed_resources(const json::value& before, const json::value& now) {
  std::vector<std::string> out;
  for (const char* resource : {"cpu", "memory"})
    for (const char* which : {"requests", "limits"}) {
      const json::value *a = json::at(&before, {which, resource}), *b = json::at(&now, {which, resource});
      bool same = (a == nullptr) == (b == nullptr) && (a == nullptr || api::Quantity::from_json(a) == api::Quantity::from_json(b));
      if (!same && (out.empty() || out.back() != resource)) out.emplace_back(resource);
    }
  return out;
}

bool restarts_for(const core::v1::Container& container, const std::vector<std::string>& resources) {
  for (auto policy : container.resize_policy())
    if (policy.restart_policy() == "RestartContainer" && std::ranges::find(resources, policy.resource_name()) != resources.end()) return true;
  return false;
}

}  // namespace kcube::kubelet
