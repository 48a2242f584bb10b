// Where a Service's traffic goes, as its EndpointSlices in the cache say: for the proxy subresource, webhooks and
// aggregated API servers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/apiserver/core.h"

namespace kcube::apiserver {

struct ServiceEndpoints {
  bool slices = false;                  // there is at least one slice
  std::vector<std::string> targets;     // "IP:PORT" (IPv6 in brackets), ready ones
};
// Of the service's port of that name.
ServiceEndpoints service_endpoints(const Core& core, std::string_view ns, std::string_view service, std::string_view port_name);
// One of the targets, any of them. Empty when there is none.
std::string choose_endpoint(const Core& core, std::string_view ns, std::string_view service, std::string_view port_name);

}  // namespace kcube::apiserver
