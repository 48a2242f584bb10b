// The cluster's certificates and keys: made at the first start, kept, and made anew when an address or a year has passed.
#pragma once

#include <string>
#include <vector>

#include "pkg/auth/auth.h"
#include "pkg/base/clock.h"

namespace kcube::server {

struct PkiOptions {
  std::string directory;                       // e.g. /var/lib/kcube/server/tls
  std::vector<std::string> dns_names, ip_addresses;   // of the API server
  std::string node_name, node_ip;              // of this machine's kubelet
};

struct Pki {
  auth::KeyPair ca;
  auth::KeyPair api_server;                    // serving
  auth::KeyPair kubelet;                       // serving
  auth::KeyPair kubelet_client;                // the API server towards kubelets
  auth::KeyPair admin;
  auth::KeyPair proxy_ca, proxy_client;        // the API server towards extension API servers
  std::string service_account_key_pem;
};

Result<Pki> open_pki(const PkiOptions& options, Clock& clock);

}  // namespace kcube::server
