// Joining a cluster with a token: who the server is, then who we are.
//
// The CA is fetched without trust and must have the hash that the token names, before anything secret is sent. A client
// certificate for the node is asked for by CSR with the token as credential, a serving certificate with the node's own.
// Both are kept in `directory` and used again; renewed when two thirds of their life have passed.
// Source: the Kubernetes docs on TLS bootstrapping.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "pkg/auth/auth.h"
#include "pkg/base/clock.h"
#include "pkg/client/client.h"

namespace kcube::agent {

struct JoinOptions {
  std::string server;        // "https://10.0.0.1:6443"
  std::string token;
  std::string node_name, node_ip;
  std::string directory;     // e.g. /var/lib/kcube/agent/pki
};

struct Identity {
  std::string ca_pem;
  auth::KeyPair client, serving;
};

// Blocks until both certificates are there. Fails at once on a bad token or CA (401, 403); a server that cannot be reached
// is tried again after every `pause`, which waits as long as it is told and says whether to go on.
Result<Identity> join(const JoinOptions& options, Clock& clock, const std::function<bool(std::chrono::milliseconds)>& pause);

// Asks for new certificates with the identity at hand.
Result<Identity> renew(const JoinOptions& options, const Identity& identity, Clock& clock);

// When `identity` should be renewed.
SystemTime renewal_time(const Identity& identity);

}  // namespace kcube::agent
