// The records of one service, by the Kubernetes DNS specification 1.1.0.
#pragma once

#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/dns/message.h"

namespace kcube::dns {

// `slices` are the service's EndpointSlices. `domain` is the cluster's, wire form. Nothing for a service without an
// address yet. Sorted.
std::vector<Record> service_records(const api::Object& service, const std::vector<api::ObjectPtr>& slices,
                                    const std::string& domain);

}  // namespace kcube::dns
