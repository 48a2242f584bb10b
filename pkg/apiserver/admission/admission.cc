#include "pkg/apiserver/admission/admission.h"

#include <chrono>
#include <utility>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"

namespace kcube::apiserver {

std::unexpected<Status> Admission::forbid(std::string_view message) const {
  return fail(api::forbidden(call.resource->group(), call.resource->resource(), call.name, message));
}

namespace {

using SteadyClock = std::chrono::steady_clock;

double seconds(SteadyClock::duration d) { return std::chrono::duration<double>(d).count(); }

// Reads the clock once for each plugin: what one begins with is what the one before ended with.
class StepTimer {
 public:
  StepTimer(const Admission& admission, AdmissionStep step) : admission_(admission), step_(step), began_(SteadyClock::now()), last_(began_) {}
  void plugin(AdmissionTimes& times, bool rejected) {
    auto now = SteadyClock::now();
    times.observe(admission_.operation, step_, rejected, seconds(now - last_));
    last_ = now;
  }
  void end(bool rejected) { admission_.core.admission.metrics().steps.observe(admission_.operation, step_, rejected, seconds(last_ - began_)); }

 private:
  const Admission& admission_;
  const AdmissionStep step_;
  const SteadyClock::time_point began_;
  SteadyClock::time_point last_;
};

}  // namespace

Result<void> mutate(Admission& admission) {
  if (admission.call.admitted) return {};
  Reinvocation rounds;
  admission.rounds = &rounds;
  Result<void> done;
  StepTimer timer(admission, AdmissionStep::admit);
  for (; done && rounds.round < 2; ++rounds.round) {
    if (rounds.round > 0 && !rounds.again) break;
    for (const auto& [plugin, times] : admission.core.admission.plugins()) {
      if (plugin->mutate == nullptr) continue;
      done = plugin->mutate(admission);
      timer.plugin(*times, !done);
      if (!done) break;
    }
  }
  timer.end(!done);
  admission.rounds = nullptr;
  return done;
}

Result<void> admit(Admission& admission) {
  if (admission.call.admitted) return {};
  StepTimer timer(admission, AdmissionStep::validate);
  for (const auto& [plugin, times] : admission.core.admission.plugins()) {
    if (plugin->admit == nullptr) continue;
    auto done = plugin->admit(admission);
    timer.plugin(*times, !done);
    if (done) continue;
    timer.end(true);
    if (auto take_back = std::exchange(admission.call.take_back, nullptr)) take_back();
    return done;
  }
  timer.end(false);
  return {};
}

Result<void> admit_request(Core& core, Call& call, Operation operation, json::value& object) {
  Admission admission{core, call, operation, &object};
  admission.verbatim = true;
  if (auto done = mutate(admission); !done) return done;
  return admit(admission);
}

}  // namespace kcube::apiserver
