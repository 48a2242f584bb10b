// Probes: exec, HTTP, TCP and gRPC checks of containers on their own timers.
//
// A prober belongs to one running container; its verdicts change on the executor's threads and `changed` is called then.
// Source: the Kubernetes docs on liveness, readiness and startup probes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "pkg/api/views/core_v1.h"
#include "pkg/base/clock.h"
#include "pkg/base/executor.h"
#include "runtime/pod_runtime.h"

namespace kcube::kubelet {

enum class ProbeKind { liveness, readiness, startup };
enum class ProbeResult { success, failure, unknown };

// What a check needs to reach the container.
struct ProbeTarget {
  runtime::PodRuntime* runtime = nullptr;
  std::string container_id;
  std::string pod_ip;             // the node's with hostNetwork
};

// One check. `output` gets what the event says on failure.
ProbeResult run_probe(const core::v1::Probe& probe, const core::v1::Container& container, const ProbeTarget& target, std::string& output);
// The same for a lifecycle handler (postStart, preStop): exec, httpGet, tcpSocket or sleep.
Result<void> run_handler(const core::v1::LifecycleHandler& handler, const core::v1::Container& container, const ProbeTarget& target);

// The named or numbered port of a container.
uint16_t resolve_port(const json::value* port, const core::v1::Container& container);

class ContainerProber {
 public:
  struct Events {
    // Called when a verdict changes, or liveness fails (kind says which), with the output of the last check.
    std::function<void(ProbeKind kind, bool success, const std::string& output)> verdict;
    // Called for each failed check, for an Unhealthy event.
    std::function<void(ProbeKind kind, const std::string& output)> failed;
  };
  // `container` is kept as a copy of its JSON. Starts at once.
  static std::shared_ptr<ContainerProber> start(json::value container, ProbeTarget target, Clock& clock, Executor& executor, Events events);
  virtual ~ContainerProber() = default;
  virtual void stop() = 0;
  virtual bool ready() const = 0;     // readiness verdict; true without a readiness probe
  virtual bool started() const = 0;   // startup verdict; true without a startup probe
};

}  // namespace kcube::kubelet
