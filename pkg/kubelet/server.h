// The kubelet's HTTPS endpoint: logs, exec, attach, port-forward, the list of pods, health.
//
// Callers are the API server (client certificate of its own) or anyone whom TokenReview and SubjectAccessReview let use
// nodes/proxy, nodes/log and so on. Source: the kubelet authentication and authorization docs.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "pkg/kubelet/context.h"
#include "pkg/kubelet/pod_worker.h"

namespace kcube::kubelet {

class Endpoint {
 public:
  using FindPod = std::function<std::shared_ptr<PodWorker>(std::string_view ns, std::string_view name, std::string_view uid)>;
  using ListPods = std::function<std::vector<api::ObjectPtr>()>;
  static Result<std::unique_ptr<Endpoint>> create(Context& context, FindPod find, ListPods list);
  ~Endpoint();
  void start();
  void stop();
  uint16_t port() const;
  Result<void> set_certificate(const http::TlsOptions& tls);

 private:
  Endpoint(Context& context, FindPod find, ListPods list);
  void handle(http::Request& request, std::unique_ptr<http::Responder> responder);
  Result<void> authorize(const http::Request& request);
  void logs(const http::Request& request, std::unique_ptr<http::Responder> responder, const std::vector<std::string>& parts);
  void command(const http::Request& request, std::unique_ptr<http::Responder> responder, const std::vector<std::string>& parts, bool attach);
  void port_forward(const http::Request& request, std::unique_ptr<http::Responder> responder, const std::vector<std::string>& parts);

  Context& context_;
  FindPod find_;
  ListPods list_;
  // Streams hold a thread each while they last.
  Executor streams_{{.name = "kubelet-stream", .max_threads = 512}};
  std::unique_ptr<http::Server> server_;
};

}  // namespace kcube::kubelet
