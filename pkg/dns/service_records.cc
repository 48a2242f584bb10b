#include "pkg/dns/service_records.h"

#include <algorithm>

#include "pkg/api/views/core_v1.h"
#include "pkg/api/views/discovery_v1.h"
#include "pkg/dns/zone.h"

namespace kcube::dns {
namespace {

std::string label(std::string_view text) {
  return text.empty() || text.size() > 63 ? std::string() : static_cast<char>(text.size()) + lower(text);
}

// Collects records of one service.
struct Builder {
  std::string name;  // <service>.<namespace>.svc.<domain>
  std::vector<Record> out;

  void add(Record record) { out.push_back(std::move(record)); }
  void address(const std::string& owner, const std::string& ip) {
    if (auto r = address_record(owner, ip, kTtl)) add(std::move(*r));
  }
  void pointer(const std::string& ip, const std::string& to) {
    if (std::string owner = reverse_name(ip); !owner.empty()) add({owner, type::kPtr, kClassIn, kTtl, to});
  }
  // At "_port._protocol" when the port has a name, and at the service itself: clients that look for peers ask there.
  void port(std::string_view port_name, std::string_view protocol, int64_t number, const std::string& target) {
    std::string data = u16_bytes(0) + u16_bytes(100) + u16_bytes(static_cast<uint16_t>(number)) + target;
    add({name, type::kSrv, kClassIn, kTtl, data});
    std::string service = label("_" + std::string(port_name)),
                transport = label("_" + std::string(protocol.empty() ? "tcp" : protocol));
    if (!port_name.empty() && !service.empty()) add({service + transport + name, type::kSrv, kClassIn, kTtl, data});
  }
};

// An endpoint without a hostname is named by its address.
std::string endpoint_label(discovery::v1::Endpoint endpoint, std::string_view ip) {
  if (std::string hostname = label(endpoint.hostname()); !hostname.empty()) return hostname;
  std::string dashed(ip);
  std::ranges::replace(dashed, '.', '-');
  std::ranges::replace(dashed, ':', '-');
  // A label may not begin or end with a dash: "::1".
  if (dashed.starts_with('-')) dashed.insert(dashed.begin(), '0');
  if (dashed.ends_with('-')) dashed += '0';
  return label(dashed);
}

void add_headless(Builder& b, core::v1::Service service, const std::vector<api::ObjectPtr>& slices) {
  bool unready_too = service.spec().publish_not_ready_addresses();
  for (const api::ObjectPtr& object : slices) {
    discovery::v1::EndpointSlice slice(object->value());
    if (slice.address_type() == "FQDN") continue;
    for (auto endpoint : slice.endpoints()) {
      bool ready = !endpoint.conditions().has_ready() || endpoint.conditions().ready();
      if (!ready && !unready_too) continue;
      for (std::string_view address : endpoint.addresses()) {
        std::string ip(address), own = endpoint_label(endpoint, address) + b.name;
        b.address(b.name, ip);
        b.address(own, ip);
        b.pointer(ip, own);
        for (auto port : slice.ports()) b.port(port.name(), port.protocol(), port.port(), own);
      }
    }
  }
}

void add_cluster_ips(Builder& b, core::v1::Service service) {
  std::vector<std::string> ips;
  for (std::string_view ip : service.spec().cluster_ips()) ips.emplace_back(ip);
  if (ips.empty()) ips.emplace_back(service.spec().cluster_ip());
  for (const std::string& ip : ips) {
    b.address(b.name, ip);
    b.pointer(ip, b.name);
  }
  for (auto port : service.spec().ports()) b.port(port.name(), port.protocol(), port.port(), b.name);
}

}  // namespace

std::vector<Record> service_records(const api::Object& object, const std::vector<api::ObjectPtr>& slices,
                                    const std::string& domain) {
  core::v1::Service service(object.value());
  Builder b{label(object.name()) + label(object.namespace_()) + label("svc") + domain, {}};
  if (b.name.size() > kMaxName) return {};
  if (service.spec().type() == "ExternalName") {
    if (auto target = to_name(service.spec().external_name()))
      b.add({b.name, type::kCname, kClassIn, kTtl, lower(*target)});
  } else if (service.spec().cluster_ip() == "None") {
    add_headless(b, service, slices);
  } else if (!service.spec().cluster_ip().empty()) {
    add_cluster_ips(b, service);
  }
  // What is too long for a name is no name.
  std::erase_if(b.out, [](const Record& r) { return r.name.size() > kMaxName; });
  std::ranges::sort(b.out);
  b.out.erase(std::unique(b.out.begin(), b.out.end()), b.out.end());
  return std::move(b.out);
}

}  // namespace kcube::dns
