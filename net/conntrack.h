// Forgetting UDP flows whose endpoint is no longer right: without a connection to close, a flow would stick to it.
// Source: linux/netfilter/nfnetlink_conntrack.h.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "net/netlink.h"

namespace kcube::net {

using AddressPort = std::pair<uint32_t, uint16_t>;  // host byte order; address 0 is any

// Destinations as clients name them, and who may answer for each now.
using FlowTargets = std::map<AddressPort, std::set<AddressPort>>;

// Forgets UDP flows to a key of `targets` that are answered by anybody else. One dump of the kernel's table.
Result<void> forget_udp_flows(NetlinkSocket& socket, const FlowTargets& targets);

}  // namespace kcube::net
