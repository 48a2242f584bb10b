// Objects of kcube's own that every cluster has: the DNS service, the default storage class, what joining nodes may do and
// need to know, and the join token. Made once; what a user changes or deletes afterwards is left to him, but for the
// settings that nodes read.
#pragma once

#include "pkg/agent/agent.h"
#include "pkg/auth/auth.h"
#include "pkg/client/client.h"

namespace kcube::server {

struct AddonOptions {
  agent::NetworkOptions network;
  auth::JoinToken join_token;
};

Result<void> ensure_addons(client::Client& client, const AddonOptions& options);

// A bootstrap token Secret. `lifetime` 0: for ever. Source: the Kubernetes docs on bootstrap tokens.
json::value bootstrap_token_secret(const auth::JoinToken& token, std::chrono::seconds lifetime, SystemTime now, std::string_view description);

// The settings that ensure_addons() wrote for nodes, read by one that joins.
Result<agent::NetworkOptions> read_network_options(client::Client& client);

}  // namespace kcube::server
