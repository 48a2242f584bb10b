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

Result<void> prepare_update(json::object& service, const json::object& old, Write& write) {
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
