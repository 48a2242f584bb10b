// Services: addresses and ports are given by the server.
#include "pkg/api/errors.h"
#include "pkg/apiserver/service_allocator.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {
namespace {

Result<void> prepare_create(json::object& service, Write& write) {
  service["status"] = json::object{{"loadBalancer", json::object()}};
  // Addresses are given out before names are looked at, and an address belongs to a name.
  if (write.call.name.empty() && json::get_string(json::find(service.if_contains("spec"), "type")) != "ExternalName" &&
      json::get_string(json::find(service.if_contains("spec"), "clusterIP")) != "None") {
    Cause cause = api::field_invalid("spec.clusterIPs", json::array{json::value("")},
                                     "failed to allocate IP: IPAddress.networking.k8s.io \"" + write.core.services.first_address() + "\" is invalid: spec.parentRef.name: Required value");
    return fail(api::invalid("", "Service", "", {std::move(cause)}));
  }
  return write.core.services.assign(service, nullptr, write.call.name);
}

bool is_balancer(const json::value& spec) { return json::get_string(spec, {"type"}) == "LoadBalancer"; }

bool is_external(const json::value& spec) {
  const std::string_view type = json::get_string(spec, {"type"});
  return type == "LoadBalancer" || type == "NodePort" || (type == "ClusterIP" && !json::get_array(json::find(&spec, "externalIPs")).empty());
}

// What an earlier type needed goes with it, unless it is said anew.
void drop_left_over(json::object& service, const json::object& old) {
  json::value* spec = service.if_contains("spec");
  const json::value* before = old.if_contains("spec");
  if (spec == nullptr || before == nullptr) return;
  const std::pair<const char*, bool (*)(const json::value&)> members[] = {
      {"externalTrafficPolicy", is_external}, {"allocateLoadBalancerNodePorts", is_balancer}, {"loadBalancerClass", is_balancer}};
  for (const auto& [name, applies] : members) {
    const json::value *now = json::find(spec, name), *was = json::find(before, name);
    if (now != nullptr && was != nullptr && *now == *was && applies(*before) && !applies(*spec)) spec->get_object().erase(name);
  }
}

Result<void> prepare_update(json::object& service, const json::object& old, Write& write) {
  drop_left_over(service, old);
  return write.core.services.assign(service, &old, write.call.name);
}

void abandon(const json::object& service, const json::object* old, Write& write) {
  write.core.services.release(service, old, api::object_key(write.call.ns, write.call.name));
}

}  // namespace

const Strategy kServiceStrategy{.has_status = true,
                                .returns_deleted = true,
                                .creates_on_update = true,
                                .prepare_create = prepare_create,
                                .prepare_update = prepare_update,
                                .abandon = abandon};

}  // namespace kcube::apiserver
