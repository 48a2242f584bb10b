// Where a service really is: the ready addresses of its EndpointSlices, for what connects to services from this process.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/apiserver/core.h"

namespace kcube::apiserver {

struct ServiceEndpoints {
  bool slices = false;                  // there is at least one slice
  std::vector<std::string> targets;     // "address:port", ready ones
};
// Of the service's port of that name.
ServiceEndpoints service_endpoints(const Core& core, std::string_view ns, std::string_view service, std::string_view port_name);

}  // namespace kcube::apiserver
