// Which endpoints a node uses for one port of a service.
#pragma once

#include <string>
#include <vector>

#include "net/network.h"
#include "pkg/api/object.h"
#include "pkg/api/views/core_v1.h"

namespace kcube::proxy {

struct Place {
  std::string node, zone;  // of this node; the zone may be empty
};

net::Protocol protocol_of(std::string_view text);

// Ready endpoints, or when there are none those that end but still serve (KEP-1669). When every one of them has hints
// and some are for this node or zone, only those (KEP-2433, KEP-4444), unless `all` is asked for. Sorted by address.
std::vector<net::Endpoint> endpoints_of(const std::vector<api::ObjectPtr>& slices, core::v1::ServicePort port,
                                        const Place& here, bool all);

}  // namespace kcube::proxy
