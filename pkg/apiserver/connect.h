// Connections through the API server: logs, exec, attach and port-forward to kubelets, and the proxy subresources to
// pods, services and nodes. Upgrades become tunnels, everything else streams as it comes.
// Source: the API reference's connect operations; KEP-4006.
#pragma once

#include <memory>
#include <string>

#include "pkg/apiserver/core.h"
#include "pkg/apiserver/forward.h"
#include "pkg/apiserver/request_info.h"

namespace kcube::apiserver {

class Connector {
 public:
  // `kubelet` holds the certificate by which kubelets know the API server, and the CA to know them.
  Connector(Core& core, http::ClientTls kubelet);
  ~Connector();
  // True when `resource` is answered here.
  static bool handles(const Resource& resource);
  void serve(Call& call, const RequestInfo& info, http::Request& request, std::unique_ptr<http::Responder> responder);
  void stop();
  Forwarder& forwarder() { return forwarder_; }

 private:
  static json::value options_of(const Call& call, const RequestInfo& info, const http::Request& request);
  Result<Target> locate(const Call& call, const RequestInfo& info, const http::Request& request) const;
  Result<std::string> kubelet_url(std::string_view node) const;
  Result<Target> pod_log(const Call& call, const http::Request& request) const;
  Result<Target> pod_stream(const Call& call, const http::Request& request) const;
  Result<Target> pod_proxy(const Call& call, const RequestInfo& info, const http::Request& request) const;
  Result<Target> service_proxy(const Call& call, const RequestInfo& info, const http::Request& request) const;

  Core& core_;
  const std::shared_ptr<const Peer> kubelets_, plain_;
  Forwarder forwarder_;
};

}  // namespace kcube::apiserver
