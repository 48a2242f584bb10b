// The kubelet: makes the pods bound to this node run, and says how they are.
//
// Owns: one worker per pod, volumes, probes, images, the node's status and Lease, and the HTTPS endpoint for logs, exec,
// attach and port-forward. Called by pkg/server and pkg/agent. Everything is driven by events: pod watches, container
// exits, probe timers. It speaks to the cluster through client::Client and to the node through runtime::PodRuntime.
// Failures of one pod are events and a back-off of that pod; nothing here ends the process.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pkg/auth/auth.h"
#include "pkg/base/clock.h"
#include "pkg/client/client.h"
#include "pkg/http/server.h"
#include "runtime/image_store.h"
#include "runtime/pod_runtime.h"

namespace kcube::kubelet {

struct Options {
  std::string node_name;
  std::string node_ip;
  std::string data_dir;                 // pods' volumes: DATA/pods/UID/volumes/…; logs under log_dir
  std::string log_dir;                  // "/var/log/pods" in spirit; DATA/logs/pods
  std::string static_pod_dir;           // watched for manifests; may be empty
  std::string cgroup_root;              // the runtime's, e.g. "/kcube"
  std::map<std::string, std::string> labels, annotations;   // of the Node when it is first registered
  std::vector<std::string> taints;      // "key=value:Effect"
  std::string cluster_dns = "10.43.0.10";
  std::string cluster_domain = "cluster.local";
  std::string version = "v1.36.0";
  std::string os_image, kernel_version; // filled from the machine when empty
  uint64_t capacity_memory_bytes = 0;   // 0: the machine's
  double capacity_cpus = 0;
  int max_pods = 110;

  std::string listen_address = "0.0.0.0";
  uint16_t port = 10250;
  http::TlsOptions tls;                 // serving certificate; client_ca lets the API server in
};

// How the endpoint learns who may call it, when it is not a client certificate of the API server: TokenReview and
// SubjectAccessReview through the client.
class Kubelet {
 public:
  // Borrowed parts outlive the kubelet. Binds the port at once (409 KC_PORT_IN_USE).
  static Result<std::unique_ptr<Kubelet>> create(Options options, client::Client& client, runtime::PodRuntime& runtime,
                                                 runtime::ImageStore& images, Clock& clock);
  virtual ~Kubelet() = default;
  // Registers the node, adopts what runs, follows the pods.
  virtual Result<void> start() = 0;
  // Stops following; containers go on running.
  virtual void stop() = 0;
  // Stops every pod of the node (grace `limit` at most) and removes its sandboxes; for `kcube down`.
  virtual void stop_pods(std::chrono::milliseconds limit) = 0;
  virtual bool node_ready() const = 0;
  virtual Result<void> set_certificate(const http::TlsOptions& tls) = 0;
  // The pod network became usable (or not): part of the Ready condition.
  virtual void set_network_ready(bool ready, std::string why) = 0;
};

}  // namespace kcube::kubelet
