// What a server says about itself to those who run it: metrics, health as metrics, flow control's state, flags, and when
// asked for by flags its logs and the state of its process. Any thread; each is made when it is asked for.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "pkg/apiserver/cache.h"
#include "pkg/apiserver/flowcontrol/flow_control.h"
#include "pkg/apiserver/metrics/request_metrics.h"
#include "pkg/apiserver/registry.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/apiserver/service_allocator.h"
#include "pkg/base/clock.h"
#include "pkg/http/server.h"

namespace kcube::apiserver {

class AdmissionControl;

class Diagnostics {
 public:
  struct Sources {
    const Registry& registry;
    const Cache& cache;
    Clock& clock;
    const GatewayOptions& gateway;
    const RequestMetrics& requests;
    const AdmissionControl& admission;
    ServiceAllocator& services;
    const store::Store& store;
    flowcontrol::FlowControl* flow;                   // null: switched off
    std::function<size_t()> audit_events;
    FeatureGates gates;
    std::string version;                              // "v1.36.0"
  };
  explicit Diagnostics(Sources sources) : s_(std::move(sources)), started_(s_.clock.now()) {}
  // Answers and returns true when `request.path` is one of these.
  bool serve(const http::Request& request, http::Responder& responder) const;

 private:
  std::string metrics() const;
  bool flow_control(const http::Request& request, http::Responder& responder) const;
  void statusz(const http::Request& request, http::Responder& responder) const;
  void flagz(const http::Request& request, http::Responder& responder) const;
  void write_objects(MetricsText& out) const;
  void write_api_services(MetricsText& out) const;
  void write_version(MetricsText& out) const;

  const Sources s_;
  const SystemTime started_;
};

// The checks that /healthz, /livez and /readyz are made of.
std::span<const std::string_view> health_checks();
// process_*: processor, memory, descriptors and traffic of this process. Source: proc(5).
void write_process_metrics(MetricsText& out);
// /debug/pprof/…: threads and heap as text; false when there is no such profile.
bool serve_profile(const http::Request& request, http::Responder& responder);
// /logs/…: files and folders of /var/log; never beyond it.
bool serve_logs(const http::Request& request, http::Responder& responder);

}  // namespace kcube::apiserver
