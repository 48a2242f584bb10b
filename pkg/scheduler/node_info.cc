#include "pkg/scheduler/node_info.h"

#include <algorithm>

#include "pkg/api/quantity.h"

namespace kcube::scheduler {
namespace {

Resources from_map(const json::value* map) {
  Resources r;
  for (const auto& m : json::get_object(map)) {
    std::string_view name = json::view(m.key());
    auto q = api::Quantity::from_json(&m.value());
    if (name == "cpu") r.cpu_millis = q.milli_value();
    else if (name == "memory") r.memory_bytes = q.value();
    else if (name == "ephemeral-storage") r.ephemeral_bytes = q.value();
    else if (name != "pods") r.others[std::string(name)] = q.value();
  }
  return r;
}

Resources container_requests(const core::v1::Container& c) { return from_map(json::at(c.json(), {"resources", "requests"})); }

void take_max(Resources& into, const Resources& other) {
  into.cpu_millis = std::max(into.cpu_millis, other.cpu_millis);
  into.memory_bytes = std::max(into.memory_bytes, other.memory_bytes);
  into.ephemeral_bytes = std::max(into.ephemeral_bytes, other.ephemeral_bytes);
  for (const auto& [name, value] : other.others) into.others[name] = std::max(into.others[name], value);
}

}  // namespace

void Resources::add(const Resources& other, int sign) {
  cpu_millis += sign * other.cpu_millis;
  memory_bytes += sign * other.memory_bytes;
  ephemeral_bytes += sign * other.ephemeral_bytes;
  for (const auto& [name, value] : other.others) others[name] += sign * value;
}

Resources pod_requests(const core::v1::Pod& pod) {
  Resources total, init_peak, sidecars;
  for (auto c : pod.spec().containers()) total.add(container_requests(c));
  for (auto c : pod.spec().init_containers()) {
    Resources r = container_requests(c);
    if (c.restart_policy() == "Always") {
      sidecars.add(r);
      take_max(init_peak, sidecars);
    } else {
      r.add(sidecars);
      take_max(init_peak, r);
    }
  }
  total.add(sidecars);
  take_max(total, init_peak);
  total.add(from_map(json::at(pod.json(), {"spec", "overhead"})));
  return total;
}

std::vector<HostPort> host_ports(const core::v1::Pod& pod) {
  std::vector<HostPort> out;
  auto add = [&](const core::v1::Container& c) {
    for (auto p : c.ports())
      if (p.host_port() > 0)
        out.push_back({std::string(p.host_ip().empty() ? "0.0.0.0" : p.host_ip()), std::string(p.protocol().empty() ? "TCP" : p.protocol()), p.host_port()});
  };
  for (auto c : pod.spec().containers()) add(c);
  for (auto c : pod.spec().init_containers())
    if (c.restart_policy() == "Always") add(c);
  return out;
}

bool conflicts(const HostPort& a, const HostPort& b) {
  auto any = [](const std::string& ip) { return ip == "0.0.0.0" || ip == "::"; };
  return a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || any(a.ip) || any(b.ip));
}

void NodeInfo::set_node(api::ObjectPtr object) {
  node = std::move(object);
  allocatable = from_map(json::at(&node->value(), {"status", "allocatable"}));
  max_pods = api::Quantity::from_json(json::at(&node->value(), {"status", "allocatable", "pods"})).value();
}

void NodeInfo::add_pod(const api::ObjectPtr& pod) {
  remove_pod(pod->key());
  requested.add(pod_requests(core::v1::Pod(pod->value())));
  pods[pod->key()] = pod;
}

void NodeInfo::remove_pod(const std::string& key) {
  auto it = pods.find(key);
  if (it == pods.end()) return;
  requested.add(pod_requests(core::v1::Pod(it->second->value())), -1);
  pods.erase(it);
}

}  // namespace kcube::scheduler
