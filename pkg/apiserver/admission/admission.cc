#include "pkg/apiserver/admission/admission.h"

#include <utility>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"

namespace kcube::apiserver {

std::unexpected<Status> Admission::forbid(std::string_view message) const {
  return fail(api::forbidden(call.resource->group(), call.resource->resource(), call.name, message));
}

Result<void> mutate(Admission& admission) {
  if (admission.call.admitted) return {};
  Reinvocation rounds;
  admission.rounds = &rounds;
  Result<void> done;
  for (; done && rounds.round < 2; ++rounds.round) {
    if (rounds.round > 0 && !rounds.again) break;
    for (const AdmissionPlugin* plugin : admission.core.admission.plugins()) {
      if (plugin->mutate == nullptr) continue;
      if (done = plugin->mutate(admission); !done) break;
    }
  }
  admission.rounds = nullptr;
  return done;
}

Result<void> admit(Admission& admission) {
  if (admission.call.admitted) return {};
  for (const AdmissionPlugin* plugin : admission.core.admission.plugins()) {
    if (plugin->admit == nullptr) continue;
    auto done = plugin->admit(admission);
    if (done) continue;
    if (auto take_back = std::exchange(admission.call.take_back, nullptr)) take_back();
    return done;
  }
  return {};
}

Result<void> admit_request(Core& core, Call& call, Operation operation, json::value& object) {
  Admission admission{core, call, operation, &object};
  admission.verbatim = true;
  if (auto done = mutate(admission); !done) return done;
  return admit(admission);
}

}  // namespace kcube::apiserver
