// Services: addresses and ports are given by the server.
#include "pkg/apiserver/service_allocator.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {
namespace {

Result<void> prepare_create(json::object& service, Write& write) {
  service["status"] = json::object{{"loadBalancer", json::object()}};
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
                                .prepare_create = prepare_create,
                                .prepare_update = prepare_update,
                                .abandon = abandon};

}  // namespace kcube::apiserver
