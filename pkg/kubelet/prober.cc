#include <algorithm>
#include <atomic>
#include <mutex>

#include "pkg/kubelet/probes.h"

namespace kcube::kubelet {
namespace {

constexpr Duration kFirstEarlyTry = std::chrono::milliseconds(20);
constexpr Duration kGrace = std::chrono::milliseconds(500);   // of a start in which nobody is told that it is not ready yet

class ProberImpl final : public ContainerProber, public std::enable_shared_from_this<ProberImpl> {
 public:
  ProberImpl(json::value container, ProbeTarget target, Clock& clock, Executor& executor, Events events)
      : json_(std::move(container)), container_(json_), target_(std::move(target)), clock_(clock), executor_(executor), events_(std::move(events)) {
    ready_ = !container_.has_readiness_probe();
    started_ = !container_.has_startup_probe();
  }

  void begin() {
    // Liveness and readiness wait for the startup probe.
    if (container_.has_startup_probe()) return arm(ProbeKind::startup, container_.startup_probe());
    begin_others();
  }

  void stop() override { stopped_ = true; }
  bool ready() const override { return ready_ && started_; }
  bool started() const override { return started_; }

 private:
  struct Counter {
    int successes = 0, failures = 0;
  };

  core::v1::Probe probe_of(ProbeKind kind) const {
    if (kind == ProbeKind::liveness) return container_.liveness_probe();
    return kind == ProbeKind::readiness ? container_.readiness_probe() : container_.startup_probe();
  }

  void begin_others() {
    if (container_.has_liveness_probe()) arm(ProbeKind::liveness, container_.liveness_probe());
    if (container_.has_readiness_probe()) arm(ProbeKind::readiness, container_.readiness_probe());
  }

  void arm(ProbeKind kind, core::v1::Probe probe) { schedule(kind, std::chrono::seconds(probe.initial_delay_seconds())); }

  void schedule(ProbeKind kind, Duration delay) {
    clock_.schedule(delay, [weak = weak_from_this(), kind] {
      auto self = weak.lock();
      if (!self || self->stopped_) return;
      self->executor_.submit([self, kind] { self->check(kind); });
    });
  }

  void check(ProbeKind kind) {
    if (stopped_) return;
    core::v1::Probe probe = probe_of(kind);
    std::string output;
    ProbeResult result = run_probe(probe, container_, target_, output);
    if (stopped_) return;
    const Duration period = std::chrono::seconds(std::max<int64_t>(1, probe.period_seconds(10)));
    if (kind == ProbeKind::readiness && result == ProbeResult::failure && early_ < period) {
      if (early_ > kGrace && events_.failed) events_.failed(kind, output);
      schedule(kind, early_);
      early_ *= 2;
      return;
    }
    bool go_on = true;
    if (result != ProbeResult::unknown) go_on = count(kind, probe, result == ProbeResult::success, output);
    if (kind == ProbeKind::readiness && result == ProbeResult::success) early_ = Duration::max();
    if (go_on) schedule(kind, period);
  }

  // False when this probe is over.
  bool count(ProbeKind kind, core::v1::Probe probe, bool success, const std::string& output) {
    Counter& c = counters_[static_cast<size_t>(kind)];
    if (success) {
      ++c.successes;
      c.failures = 0;
    } else {
      ++c.failures;
      c.successes = 0;
      if (events_.failed) events_.failed(kind, output);
    }
    bool reached = success ? c.successes >= std::max<int64_t>(1, probe.success_threshold(1)) : c.failures >= std::max<int64_t>(1, probe.failure_threshold(3));
    if (!reached) return true;
    switch (kind) {
      case ProbeKind::startup:
        if (success) {
          started_ = true;
          begin_others();
        }
        events_.verdict(kind, success, output);
        return false;
      case ProbeKind::liveness:
        if (success) return true;
        events_.verdict(kind, false, output);
        return false;
      case ProbeKind::readiness:
        if (ready_.exchange(success) != success) events_.verdict(kind, success, output);
        return true;
    }
    return true;
  }

  json::value json_;
  core::v1::Container container_;
  ProbeTarget target_;
  Clock& clock_;
  Executor& executor_;
  Events events_;
  Counter counters_[3];  // each used by one check at a time
  // A program that has just been started may listen a moment later: until it was ready once, it is asked again soon, as other
  // kubelets do with every look at a pod that is not ready. These tries are not counted.
  Duration early_ = kFirstEarlyTry;   // to the next of them; used by readiness alone
  std::atomic<bool> ready_{false}, started_{false}, stopped_{false};
};

}  // namespace

std::shared_ptr<ContainerProber> ContainerProber::start(json::value container, ProbeTarget target, Clock& clock, Executor& executor, Events events) {
  auto prober = std::make_shared<ProberImpl>(std::move(container), std::move(target), clock, executor, std::move(events));
  prober->begin();
  return prober;
}

}  // namespace kcube::kubelet
