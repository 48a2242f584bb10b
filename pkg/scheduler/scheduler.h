// The scheduler: finds a node for every pod that has none, and binds it.
//
// Reacts to events only: a new pod is tried at once, one that fits nowhere waits for a change that may help it (with a
// back-off). Filters and scores are the plugins of kube-scheduler's default profile. Speaks through client::Client alone.
#pragma once

#include <memory>
#include <string>

#include "pkg/base/clock.h"
#include "pkg/client/client.h"

namespace kcube::scheduler {

struct Options {
  std::string name = "default-scheduler";   // pods with this spec.schedulerName are ours
};

class Scheduler {
 public:
  static std::unique_ptr<Scheduler> create(client::Client& client, Clock& clock, Options options);
  virtual ~Scheduler() = default;
  virtual void start() = 0;
  virtual void stop() = 0;
};

}  // namespace kcube::scheduler
