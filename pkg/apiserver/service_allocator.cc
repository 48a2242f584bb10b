#include "pkg/apiserver/service_allocator.h"

#include <arpa/inet.h>

#include <set>

#include "pkg/api/errors.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

bool parse_address(std::string_view text, uint32_t& address) {
  in_addr parsed{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &parsed) != 1) return false;
  address = ntohl(parsed.s_addr);
  return true;
}

std::string address_text(uint32_t address) {
  in_addr in{htonl(address)};
  char buffer[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &in, buffer, sizeof buffer);
}

std::string_view type_of(const json::object& service) {
  std::string_view type = json::get_string(json::find(service.if_contains("spec"), "type"));
  return type.empty() ? "ClusterIP" : type;
}

bool wants_ports(std::string_view type, const json::object& spec) {
  if (type == "NodePort") return true;
  const json::value* allocate = spec.if_contains("allocateLoadBalancerNodePorts");
  return type == "LoadBalancer" && (allocate == nullptr || json::get_bool(allocate, true));
}

std::string key_of(const json::object& service) {
  const json::value* metadata = service.if_contains("metadata");
  return api::object_key(json::get_string(json::find(metadata, "namespace")), json::get_string(json::find(metadata, "name")));
}

Status invalid_service(const std::string& name, Cause cause) { return api::invalid("", "Service", name, {std::move(cause)}); }

std::string protocol_of(const json::value& port) {
  std::string protocol(json::get_string(json::find(&port, "protocol")));
  return protocol.empty() ? "TCP" : protocol;
}

// Every {protocol, node port} of a service.
std::set<std::pair<std::string, uint16_t>> ports_of(const json::value& service) {
  std::set<std::pair<std::string, uint16_t>> found;
  for (const json::value& port : json::get_array(json::at(&service, {"spec", "ports"})))
    if (int64_t node_port = json::get_int(port, {"nodePort"})) found.emplace(protocol_of(port), static_cast<uint16_t>(node_port));
  return found;
}

std::set<uint32_t> addresses_of(const json::value& service) {
  std::set<uint32_t> found;
  uint32_t address = 0;
  if (parse_address(json::get_string(service, {"spec", "clusterIP"}), address)) found.insert(address);
  for (const json::value& ip : json::get_array(json::at(&service, {"spec", "clusterIPs"})))
    if (parse_address(json::get_string(&ip), address)) found.insert(address);
  return found;
}

}  // namespace

ServiceAllocator::ServiceAllocator(std::string_view cidr, uint16_t first_port, uint16_t last_port)
    : cidr_(cidr), first_port_(first_port), last_port_(last_port) {
  auto parts = split(cidr, '/');
  int bits = parts.size() == 2 ? parse_int<int>(parts[1]).value_or(16) : 16;
  parse_address(parts[0], base_);
  size_ = bits >= 31 ? 2 : uint32_t{1} << (32 - bits);
}

std::string ServiceAllocator::first_address() const { return address_text(base_ + 1); }

void ServiceAllocator::load(const ResourceCache& services) {
  std::lock_guard lock(mutex_);
  for (SnapshotPtr all = services.snapshot(); const ObjectPtr& object : all->objects) hold(object->value(), object->key());
}

void ServiceAllocator::observe(const Event& event) {
  std::lock_guard lock(mutex_);
  std::string key = event.object->key();
  if (event.before) drop(event.before->value(), key);
  if (event.type != Event::Type::deleted) hold(event.object->value(), key);
}

void ServiceAllocator::hold(const json::value& service, const std::string& key) {
  for (uint32_t address : addresses_of(service)) addresses_[address] = key;
  for (const auto& port : ports_of(service)) ports_[port] = key;
}

void ServiceAllocator::drop(const json::value& service, const std::string& key) {
  for (uint32_t address : addresses_of(service)) {
    auto it = addresses_.find(address);
    if (it != addresses_.end() && it->second == key) addresses_.erase(it);
  }
  for (const auto& port : ports_of(service)) {
    auto it = ports_.find(port);
    if (it != ports_.end() && it->second == key) ports_.erase(it);
  }
}

void ServiceAllocator::release(const json::object& service, const json::object* old, const std::string& key) {
  std::lock_guard lock(mutex_);
  drop(json::value(service), key);
  if (old != nullptr) hold(json::value(*old), key);
}

Result<void> ServiceAllocator::assign(json::object& service, const json::object* old, const std::string& name) {
  std::string key = key_of(service);
  std::lock_guard lock(mutex_);
  if (auto done = assign_address(service, old, key, name); !done) return done;
  return assign_ports(service, old, key, name);
}

Result<uint32_t> ServiceAllocator::take_address(const std::string& wanted, const std::string& key, const std::string& name) {
  auto refuse = [&](std::string_view why) {
    return fail(invalid_service(name, api::field_invalid("spec.clusterIPs", json::value(json::array{json::value(wanted)}), std::string("failed to allocate IP ") + wanted + ": " + std::string(why))));
  };
  if (!wanted.empty()) {
    uint32_t address = 0;
    if (!parse_address(wanted, address))
      return fail(invalid_service(name, api::field_invalid("spec.clusterIPs[0]", json::value(wanted), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")));
    if (address <= base_ || address >= base_ + size_ - 1) return refuse("the provided network does not match the current range");
    auto [it, fresh] = addresses_.try_emplace(address, key);
    if (!fresh && it->second != key) return refuse("provided IP is already allocated");
    if (fresh) count(chosen_);
    return address;
  }
  // The lower part of the range is for those that ask for an address by name.
  uint32_t reserved = std::min<uint32_t>(std::max<uint32_t>(16, size_ / 16), 256);
  if (reserved >= size_ - 2) reserved = 0;
  uint32_t span = size_ - 2 - reserved;
  uint32_t offset = static_cast<uint32_t>(random_u64() % span);
  for (uint32_t i = 0; i < size_ - 2; ++i) {
    uint32_t at = i < span ? reserved + (offset + i) % span : i - span;
    if (!addresses_.try_emplace(base_ + 1 + at, key).second) continue;
    count(given_);
    return base_ + 1 + at;
  }
  count(failed_);
  return fail(Status::internal("failed to allocate a serviceIP: range is full"));
}

void ServiceAllocator::write_metrics(MetricsText& out) {
  std::lock_guard lock(mutex_);
  const double taken = static_cast<double>(addresses_.size()), ports = static_cast<double>(ports_.size());
  const Labels range{{"cidr", cidr_}};
  auto gauge = [&](const char* name, const char* help, const Labels& labels, double value) {
    out.family(name, "gauge", help);
    out.sample(labels, value);
  };
  gauge("kube_apiserver_clusterip_allocator_allocated_ips", "[ALPHA] Gauge measuring the number of allocated IPs for Services", range, taken);
  out.family("kube_apiserver_clusterip_allocator_allocation_errors_total", "counter", "[ALPHA] Number of errors trying to allocate Cluster IPs");
  out.sample({{"cidr", cidr_}, {"scope", "dynamic"}}, static_cast<double>(failed_.load()));
  out.family("kube_apiserver_clusterip_allocator_allocation_total", "counter", "[ALPHA] Number of Cluster IPs allocations");
  out.sample({{"cidr", cidr_}, {"scope", "dynamic"}}, static_cast<double>(given_.load()));
  out.sample({{"cidr", cidr_}, {"scope", "static"}}, static_cast<double>(chosen_.load()));
  gauge("kube_apiserver_clusterip_allocator_available_ips", "[ALPHA] Gauge measuring the number of available IPs for Services", range, size_ - 2 - taken);
  gauge("kube_apiserver_nodeport_allocator_allocated_ports", "[ALPHA] Gauge measuring the number of allocated NodePorts for Services", {}, ports);
  gauge("kube_apiserver_nodeport_allocator_available_ports", "[ALPHA] Gauge measuring the number of available NodePorts for Services", {}, last_port_ - first_port_ + 1 - ports);
}

Result<void> ServiceAllocator::assign_address(json::object& service, const json::object* old, const std::string& key, const std::string& name) {
  json::object& spec = json::ensure_object(service, "spec");
  std::string_view type = type_of(service);
  if (type == "ExternalName") {
    // Turned into one: what it had is dropped by the event.
    for (const char* member : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"}) spec.erase(member);
    return {};
  }
  std::string wanted(json::get_string(spec.if_contains("clusterIP")));
  json::array list = json::get_array(spec.if_contains("clusterIPs"));
  const json::value* before = old != nullptr && type_of(*old) != "ExternalName" ? old->if_contains("spec") : nullptr;
  const std::string had(json::get_string(json::find(before, "clusterIP")));
  if (before != nullptr) {
    // What is left out stays; who knows of one address only changes the list along with it.
    const json::array& listed = json::get_array(json::find(before, "clusterIPs"));
    if (wanted.empty()) wanted = had;
    if (wanted == had ? list.empty() : list == listed) list = wanted == had ? listed : json::array{json::value(wanted)};
  }
  if (list.empty() && !wanted.empty()) list.push_back(json::value(wanted));
  const bool plain = list.empty() || (list.size() == 1 && json::get_string(&list[0]) == wanted && wanted.find(':') == std::string::npos);
  const json::array& families = json::get_array(spec.if_contains("ipFamilies"));
  const bool other_family = wanted.empty() && std::ranges::any_of(families, [](const json::value& f) { return json::get_string(&f) != "IPv4"; });
  if (!plain || other_family || (!had.empty() && wanted != had)) {
    // The rules refuse it, and nothing is taken for it.
    if (wanted.empty() && list.empty()) return {};
    spec["clusterIP"] = wanted;
    spec["clusterIPs"] = std::move(list);
    return {};
  }
  if (wanted != "None") {
    auto address = take_address(wanted, key, name);
    if (!address) return fail(address.error());
    wanted = address_text(*address);
  }
  spec["clusterIP"] = wanted;
  spec["clusterIPs"] = json::array{json::value(wanted)};
  if (json::get_array(spec.if_contains("ipFamilies")).empty()) spec["ipFamilies"] = json::array{json::value("IPv4")};
  if (json::get_string(spec.if_contains("ipFamilyPolicy")).empty()) spec["ipFamilyPolicy"] = "SingleStack";
  return {};
}

Result<int64_t> ServiceAllocator::take_port(int64_t wanted, std::string_view protocol, const std::string& key, const std::string& name,
                                            const std::string& field) {
  std::string kind(protocol);
  if (wanted != 0) {
    if (wanted < first_port_ || wanted > last_port_) {
      return fail(invalid_service(name, api::field_invalid(field, json::value(wanted),
                                                           "provided port is not in the valid range. The range of valid ports is " +
                                                               std::to_string(first_port_) + "-" + std::to_string(last_port_))));
    }
    auto [it, fresh] = ports_.try_emplace({kind, static_cast<uint16_t>(wanted)}, key);
    if (!fresh && it->second != key) return fail(invalid_service(name, api::field_invalid(field, json::value(wanted), "provided port is already allocated")));
    return wanted;
  }
  uint32_t span = last_port_ - first_port_ + 1, offset = static_cast<uint32_t>(random_u64() % span);
  for (uint32_t i = 0; i < span; ++i) {
    auto port = static_cast<uint16_t>(first_port_ + (offset + i) % span);
    if (ports_.try_emplace({kind, port}, key).second) return port;
  }
  return fail(Status::internal("failed to allocate a nodePort: range is full"));
}

Result<void> ServiceAllocator::assign_ports(json::object& service, const json::object* old, const std::string& key, const std::string& name) {
  json::object& spec = json::ensure_object(service, "spec");
  std::string_view type = type_of(service);
  bool wanted = wants_ports(type, spec);
  const json::value* before = old == nullptr ? nullptr : json::find(old->if_contains("spec"), "ports");
  size_t i = 0;
  json::array none;
  json::value* listed = spec.if_contains("ports");
  for (json::value& port : listed != nullptr && listed->is_array() ? listed->get_array() : none) {
    json::object& p = port.get_object();
    std::string field = "spec.ports[" + std::to_string(i++) + "].nodePort";
    int64_t asked = json::get_int(p.if_contains("nodePort"));
    if (!wanted && (type == "ClusterIP" || type == "ExternalName")) {
      // Ports that a former type had go; asking for one on a ClusterIP is validation's business.
      if (old != nullptr && type_of(*old) != type) p.erase("nodePort");
      continue;
    }
    if (asked == 0) {
      // An update that leaves the port out keeps the one it has.
      for (const json::value& o : json::get_array(before))
        if (json::get_int(o, {"port"}) == json::get_int(port, {"port"}) && protocol_of(o) == protocol_of(port)) asked = json::get_int(o, {"nodePort"});
    }
    if (asked == 0 && !wanted) continue;
    auto taken = take_port(asked, protocol_of(port), key, name, field);
    if (!taken) return fail(taken.error());
    p["nodePort"] = *taken;
  }
  bool health = type == "LoadBalancer" && json::get_string(spec.if_contains("externalTrafficPolicy")) == "Local";
  if (!health) {
    spec.erase("healthCheckNodePort");
    return {};
  }
  int64_t asked = json::get_int(spec.if_contains("healthCheckNodePort"));
  if (asked == 0 && old != nullptr) asked = json::get_int(json::find(old->if_contains("spec"), "healthCheckNodePort"));
  auto taken = take_port(asked, "TCP", key, name, "spec.healthCheckNodePort");
  if (!taken) return fail(taken.error());
  spec["healthCheckNodePort"] = *taken;
  return {};
}

}  // namespace kcube::apiserver
