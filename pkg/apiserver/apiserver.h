// The API server: Kubernetes' REST API over the store, for everybody by HTTPS and for parts of this process by LocalBackend.
//
// Called by pkg/server. Requests run on the connection room's threads; events of the store reach watchers through two hub
// threads. Nothing else in the process touches the store. Failures of a request are its answer; create() fails when the
// store cannot be read or the port is in use (409 KC_PORT_IN_USE). Source: the Kubernetes API reference and API concepts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pkg/apiserver/security_options.h"
#include "pkg/auth/auth.h"
#include "pkg/base/clock.h"
#include "pkg/client/client.h"
#include "pkg/http/server.h"
#include "pkg/store/store.h"

namespace kcube::apiserver {

// Names are those of kube-apiserver's --enable-admission-plugins and --disable-admission-plugins.
struct AdmissionOptions {
  std::vector<std::string> enable, disable;
  std::string configuration;                      // YAML or JSON of an apiserver.config.k8s.io/v1 AdmissionConfiguration; may be empty
};

// What the server's readiness depends on besides itself.
struct HealthCheck {
  std::string name;
  std::function<Result<void>()> check;             // may wait for others, but not for long
};

struct Options {
  std::string address = "0.0.0.0";
  uint16_t port = 6443;                           // 0: any
  http::TlsOptions tls;                           // serving certificate; client_ca_pem is whom clients' certificates are by
  std::string ca_pem;                             // published in kube-public and to kubelets' callers
  auth::KeyPair kubelet_client;                   // how we present ourselves to kubelets
  SecurityOptions security;                       // what flags say about identity
  auth::KeyPair proxy_client;                     // how we present ourselves to extension API servers
  std::string proxy_ca_pem;                       // whose certificates extensions believe when they say who asks
  std::string service_account_key_pem;            // signs service account tokens
  std::string issuer = "https://kubernetes.default.svc.cluster.local";
  std::string advertise_address;                  // where pods find us: endpoints of the kubernetes service
  std::string service_cidr = "10.43.0.0/16";
  uint16_t node_port_first = 30000, node_port_last = 32767;
  AdmissionOptions admission;
  std::vector<HealthCheck> health_checks;         // of /healthz and /readyz
  std::string version = "v1.36.0";                // gitVersion of /version
};

class Server {
 public:
  // `store` and `clock` outlive the server. Reads the store, and writes what every cluster has: namespaces, roles, the
  // kubernetes service, priority classes.
  static Result<std::unique_ptr<Server>> create(Options options, store::Store& store, Clock& clock);
  virtual ~Server() = default;
  // From now on requests are answered.
  virtual Result<void> start() = 0;
  virtual void stop() = 0;
  virtual client::LocalBackend& local() = 0;
  virtual uint16_t port() const = 0;
  // New handshakes use the new certificate.
  virtual Result<void> set_certificate(const http::TlsOptions& tls) = 0;
};

}  // namespace kcube::apiserver
