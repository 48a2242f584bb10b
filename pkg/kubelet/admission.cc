#include "pkg/kubelet/admission.h"

#include <algorithm>

#include "pkg/api/quantity.h"

namespace kcube::kubelet {
namespace {

struct HostPort {
  std::string ip, protocol;
  int64_t port;

  bool conflicts(const HostPort& other) const {
    bool same_address = ip == other.ip || ip == "0.0.0.0" || other.ip == "0.0.0.0";
    return port == other.port && protocol == other.protocol && same_address;
  }
};

std::vector<HostPort> host_ports(const core::v1::Pod& pod) {
  std::vector<HostPort> out;
  auto add = [&](const core::v1::Container& c) {
    for (auto p : c.ports())
      if (p.host_port() != 0)
        out.push_back({std::string(p.host_ip().empty() ? "0.0.0.0" : p.host_ip()), std::string(p.protocol().empty() ? "TCP" : p.protocol()), p.host_port()});
  };
  for (auto c : pod.spec().containers()) add(c);
  for (auto c : pod.spec().init_containers())
    if (c.restart_policy() == "Always") add(c);
  return out;
}

struct Amounts {
  int64_t cpu_millis = 0, memory_bytes = 0;
};

Amounts of_container(const core::v1::Container& c) {
  auto quantity = [&](const char* name) { return api::Quantity::from_json(json::at(c.json(), {"resources", "requests", name})); };
  return {quantity("cpu").milli_value(), quantity("memory").value()};
}

// All containers and sidecars together, or the largest moment of initialization; and the overhead.
Amounts requests(const core::v1::Pod& pod) {
  Amounts sum, sidecars, peak;
  auto add = [](Amounts& to, const Amounts& what) {
    to.cpu_millis += what.cpu_millis;
    to.memory_bytes += what.memory_bytes;
  };
  auto raise = [](Amounts& to, const Amounts& what) {
    to.cpu_millis = std::max(to.cpu_millis, what.cpu_millis);
    to.memory_bytes = std::max(to.memory_bytes, what.memory_bytes);
  };
  for (auto c : pod.spec().containers()) add(sum, of_container(c));
  for (auto c : pod.spec().init_containers()) {
    Amounts own = of_container(c);
    add(own, sidecars);
    raise(peak, own);
    if (c.restart_policy() == "Always") sidecars = own;
  }
  add(sum, sidecars);
  raise(sum, peak);
  auto whole = [&](const char* part, const char* name) { return json::at(pod.json(), {"spec", part, name}); };
  if (const json::value* v = json::at(pod.json(), {"spec", "resources", "requests", "cpu"})) sum.cpu_millis = api::Quantity::from_json(v).milli_value();
  if (const json::value* v = json::at(pod.json(), {"spec", "resources", "requests", "memory"})) sum.memory_bytes = api::Quantity::from_json(v).value();
  add(sum, {api::Quantity::from_json(whole("overhead", "cpu")).milli_value(), api::Quantity::from_json(whole("overhead", "memory")).value()});
  return sum;
}

std::optional<Rejection> out_of(const char* resource, int64_t requested, int64_t used, int64_t capacity) {
  if (requested == 0 || requested + used <= capacity) return std::nullopt;
  return Rejection{std::string("OutOf") + resource, std::string("Pod was rejected: Node didn't have enough resource: ") + resource + ", requested: " + std::to_string(requested) +
                                                        ", used: " + std::to_string(used) + ", capacity: " + std::to_string(capacity)};
}

}  // namespace

std::optional<Rejection> check_admission(const core::v1::Pod& pod, const std::vector<core::v1::Pod>& running, const NodeRoom& room) {
  Amounts used, wanted = requests(pod);
  std::vector<HostPort> taken;
  for (const core::v1::Pod& other : running) {
    Amounts theirs = requests(other);
    used.cpu_millis += theirs.cpu_millis;
    used.memory_bytes += theirs.memory_bytes;
    for (HostPort& port : host_ports(other)) taken.push_back(std::move(port));
  }
  if (auto full = out_of("pods", 1, static_cast<int64_t>(running.size()), static_cast<int64_t>(room.pods))) return full;
  if (auto full = out_of("cpu", wanted.cpu_millis, used.cpu_millis, static_cast<int64_t>(room.cpu_millis))) return full;
  if (auto full = out_of("memory", wanted.memory_bytes, used.memory_bytes, static_cast<int64_t>(room.memory_bytes))) return full;
  for (const HostPort& port : host_ports(pod))
    if (std::ranges::any_of(taken, [&](const HostPort& other) { return port.conflicts(other); }))
      return Rejection{"NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"};
  return std::nullopt;
}

std::optional<Rejection> check_resize(const core::v1::Pod& pod, const std::vector<core::v1::Pod>& others, const NodeRoom& room) {
  Amounts used, wanted = requests(pod);
  for (const core::v1::Pod& other : others) {
    Amounts theirs = requests(other);
    used.cpu_millis += theirs.cpu_millis;
    used.memory_bytes += theirs.memory_bytes;
  }
  auto check = [](const char* resource, int64_t asked, int64_t taken, uint64_t size) -> std::optional<Rejection> {
    const auto capacity = static_cast<int64_t>(size);
    std::string requested = std::string(resource) + ", requested: " + std::to_string(asked);
    if (asked > capacity) return Rejection{"Infeasible", "Node didn't have enough capacity: " + requested + ", capacity: " + std::to_string(capacity)};
    if (asked + taken > capacity)
      return Rejection{"Deferred", "Node didn't have enough resource: " + requested + ", used: " + std::to_string(taken) + ", capacity: " + std::to_string(capacity)};
    return std::nullopt;
  };
  auto cpu = check("cpu", wanted.cpu_millis, used.cpu_millis, room.cpu_millis);
  auto memory = check("memory", wanted.memory_bytes, used.memory_bytes, room.memory_bytes);
  if (cpu && (cpu->reason == "Infeasible" || !memory || memory->reason == "Deferred")) return cpu;
  return memory;
}

}  // namespace kcube::kubelet
