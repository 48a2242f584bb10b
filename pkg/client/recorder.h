// EventRecorder: writes v1 Events about objects, as `kubectl describe` shows them. Repeats of the same event raise
// its count, similar ones are combined, and too many about one object dropped (event_correlator.h). Never blocks its caller; events are dropped when more than a bound wait (they are advice).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "pkg/base/clock.h"
#include "pkg/client/client.h"

namespace kcube::client {

class EventRecorder {
 public:
  // `component` is "kubelet", "default-scheduler", "deployment-controller"; `host` the node for the kubelet.
  EventRecorder(Client& client, Clock& clock, std::string component, std::string host = {});
  ~EventRecorder();
  // `type` is "Normal" or "Warning"; `field_path` e.g. "spec.containers{web}".
  void event(const json::value& object, std::string_view type, std::string_view reason, std::string_view message, std::string_view field_path = {});

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kcube::client
