#include "pkg/apiserver/service_endpoints.h"

#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

void collect(const json::value& slice, std::string_view port_name, std::vector<std::string>& out) {
  int64_t port = 0;
  for (const json::value& p : json::get_array(json::find(&slice, "ports")))
    if (json::get_string(p, {"name"}) == port_name) port = json::get_int(p, {"port"});
  if (port == 0) return;
  for (const json::value& e : json::get_array(json::find(&slice, "endpoints"))) {
    if (!json::get_bool(e, {"conditions", "ready"}, true)) continue;
    for (const json::value& a : json::get_array(json::find(&e, "addresses"))) {
      std::string address(json::get_string(&a));
      if (address.find(':') != std::string::npos) address = "[" + address + "]";
      out.push_back(address + ":" + std::to_string(port));
    }
  }
}

}  // namespace

ServiceEndpoints service_endpoints(const Core& core, std::string_view ns, std::string_view service, std::string_view port_name) {
  ServiceEndpoints found;
  for (SnapshotPtr all = core.cache.find("discovery.k8s.io", "endpointslices")->snapshot(); const ObjectPtr& slice : all->objects) {
    if (slice->namespace_() != ns || slice->label("kubernetes.io/service-name") != service) continue;
    found.slices = true;
    collect(slice->value(), port_name, found.targets);
  }
  return found;
}

std::string choose_endpoint(const Core& core, std::string_view ns, std::string_view service, std::string_view port_name) {
  auto targets = service_endpoints(core, ns, service, port_name).targets;
  return targets.empty() ? std::string() : targets[random_u64() % targets.size()];
}

}  // namespace kcube::apiserver
