// Where a Service's traffic goes, as its EndpointSlices in the cache say: for the proxy subresource and for webhooks.
#pragma once

#include <string>
#include <string_view>

#include "pkg/apiserver/core.h"

namespace kcube::apiserver {

// "IP:PORT" (IPv6 in brackets) of one ready endpoint, any of them, behind the port of that name. Empty when there is none.
std::string choose_endpoint(const Core& core, std::string_view ns, std::string_view service, std::string_view port_name);

}  // namespace kcube::apiserver
