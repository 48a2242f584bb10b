#include "pkg/apiserver/endpoints.h"

namespace kcube::apiserver {

ServiceEndpoints service_endpoints(const Core& core, std::string_view ns, std::string_view service, std::string_view port_name) {
  ServiceEndpoints found;
  for (const ObjectPtr& slice : core.cache.find("discovery.k8s.io", "endpointslices")->snapshot()->objects) {
    if (slice->namespace_() != ns || slice->label("kubernetes.io/service-name") != service) continue;
    found.slices = true;
    int64_t port = 0;
    for (const json::value& p : json::get_array(json::find(&slice->value(), "ports")))
      if (json::get_string(p, {"name"}) == port_name) port = json::get_int(p, {"port"});
    if (port == 0) continue;
    bool v6 = json::get_string(slice->value(), {"addressType"}) == "IPv6";
    for (const json::value& e : json::get_array(json::find(&slice->value(), "endpoints"))) {
      if (!json::get_bool(e, {"conditions", "ready"}, true)) continue;
      for (const json::value& a : json::get_array(json::find(&e, "addresses"))) {
        std::string address(json::get_string(&a));
        found.targets.push_back((v6 ? "[" + address + "]" : address) + ":" + std::to_string(port));
      }
    }
  }
  return found;
}

}  // namespace kcube::apiserver
