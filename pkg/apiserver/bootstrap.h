// What every cluster has from its first start. Objects that are there already are left alone, but for the bootstrap
// roles, which are made again when they are gone. Source: the bootstrap policy in pkg/api/schema; the system namespaces and
// priority classes of the Kubernetes docs.
#pragma once

#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/security_options.h"

namespace kcube::apiserver {

struct BootstrapOptions {
  std::string ca_pem;
  RequestHeaderOptions request_header; // how extension API servers are told who asks, and whom they may believe
  std::string advertise_address;
  uint16_t port = 6443;
};

Result<void> bootstrap(Engine& engine, const BootstrapOptions& options);

}  // namespace kcube::apiserver
