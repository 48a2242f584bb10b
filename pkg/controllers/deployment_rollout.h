// The arithmetic of a Deployment's rollout: revisions, which ReplicaSets grow and shrink by how much, status and
// conditions. Functions over immutable objects; deployment.cc carries them out. Internal to the room.
#pragma once

#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/base/clock.h"

namespace kcube::controllers::rollout {

inline constexpr const char* kRevision = "deployment.kubernetes.io/revision";
inline constexpr const char* kRevisionHistory = "deployment.kubernetes.io/revision-history";
inline constexpr const char* kDesired = "deployment.kubernetes.io/desired-replicas";
inline constexpr const char* kMax = "deployment.kubernetes.io/max-replicas";
inline constexpr const char* kHashLabel = "pod-template-hash";

using Sets = std::vector<api::ObjectPtr>;

int64_t replicas_of(const json::value& object);             // spec.replicas, 1 by default
int64_t status_of(const json::value& object, std::string_view name);
int64_t revision_of(const json::value& object);             // 0 when there is none

struct Limits {
  int64_t surge = 0, unavailable = 0;
};
// maxSurge and maxUnavailable in pods. Both zero after rounding would never move: then one may be unavailable.
Limits limits_of(const json::value& deployment);
bool is_rolling_update(const json::value& deployment);

// The ReplicaSet whose template is the Deployment's, the oldest when there are several; null when there is none.
api::ObjectPtr find_new(const json::value& deployment, const Sets& sets);
// spec.replicas of a newly made or growing new ReplicaSet.
int64_t new_replicas(const json::value& deployment, const Sets& all, int64_t new_now);
bool is_saturated(const json::value& deployment, const api::Object* set);

struct Scale {
  api::ObjectPtr set;
  int64_t replicas;
};
// Shrinks old ReplicaSets as availability allows: unhealthy pods first, then the oldest sets.
std::vector<Scale> shrink_old(const json::value& deployment, const Sets& all, const api::ObjectPtr& now, const Sets& old);
// Spreads a change of spec.replicas over the ReplicaSets of a rollout in proportion to their sizes.
std::vector<Scale> proportional(const json::value& deployment, const Sets& active);

bool is_complete(const json::value& deployment, const json::value& status);
json::object make_status(const json::value& deployment, const Sets& all, const api::Object* now, SystemTime time);
// Sets the Progressing condition in `status`. Returns true when the rollout is still under way and has a deadline.
bool set_progress(const json::value& deployment, json::object& status, const api::Object* now, SystemTime time);
// The ReplicaSets' own troubles (a quota, say) become the Deployment's ReplicaFailure condition.
void copy_replica_failure(json::object& status, const Sets& all, const api::Object* now, SystemTime time);
// Progress has stopped for longer than progressDeadlineSeconds.
bool timed_out(const json::value& deployment, const json::value& status, SystemTime time);

}  // namespace kcube::controllers::rollout
