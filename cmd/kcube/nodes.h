// More nodes on the same machine: each an agent of its own in a network namespace, behind a bridge of the cluster.
#pragma once

#include "cmd/kcube/cluster.h"

namespace kcube::cli {

// The bridge that connects them to the machine; its address is how they reach the server. Idempotent.
Result<void> make_nodes_bridge(const Cluster& cluster);
// Makes the namespace of node `number` (from 2 on), starts its agent there and waits until the node is Ready.
Result<void> start_extra_node(const Cluster& cluster, int number);
// Ends every extra node: agents, containers, namespaces, the bridge. Also after kill -9.
void remove_extra_nodes(const Cluster& cluster, bool graceful);

}  // namespace kcube::cli
