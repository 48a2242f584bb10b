// Pods as the workload controllers see them: is it active, ready, available, which goes first; making and deleting them
// with the events that `kubectl describe` of the owner shows. Internal to the room.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/base/clock.h"
#include "pkg/client/client.h"
#include "pkg/client/recorder.h"
#include "pkg/controllers/expectations.h"

namespace kcube::controllers {

std::string_view pod_phase(const api::Object& pod);
std::string_view pod_node(const api::Object& pod);
// Succeeded or Failed.
bool pod_finished(const api::Object& pod);
// Neither finished nor being deleted.
bool pod_active(const api::Object& pod);
// Being deleted and not finished.
bool pod_terminating(const api::Object& pod);
bool pod_ready(const api::Object& pod);
// Ready for at least `min_ready`. When it will be later, `*wait` is lowered to that time.
bool pod_available(const api::Object& pod, std::chrono::seconds min_ready, SystemTime now, Duration* wait = nullptr);
int64_t pod_restarts(const api::Object& pod);

// Orders the pods of a ReplicaSet so that those to delete come first. `rank` counts siblings on the pod's node.
// Source: the Kubernetes docs on ReplicaSet, "Scaling a ReplicaSet".
void sort_for_deletion(std::vector<api::ObjectPtr>& pods, const std::function<int(const api::Object&)>& rank, SystemTime now);

// A pod from a template: labels, annotations, finalizers, spec, a generated name "OWNER-…" and the owner's reference.
json::object pod_from_template(const json::value& pod_template, const json::value& owner);

// Creates and deletes pods for owners, keeping expectations and writing SuccessfulCreate, FailedCreate, … events.
class PodControl {
 public:
  PodControl(client::Client& client, client::EventRecorder& recorder, Expectations& expectations)
      : client_(client), recorder_(recorder), expectations_(expectations) {}

  // One pod; the caller has expected it. A failure closes the expectation.
  Result<void> create(const std::string& key, const json::value& owner, const json::object& pod);
  // `count` pods in batches of 1, 2, 4, … so that a hopeless template (quota, say) fails once and not a thousand times.
  // Expects them itself. The first failure is returned after its batch.
  Result<void> create_batch(const std::string& key, const json::value& owner, size_t count, const std::function<json::object(size_t)>& make);
  // Expects the deletions itself.
  Result<void> remove(const std::string& key, const json::value& owner, const std::vector<api::ObjectPtr>& pods);

 private:
  client::Client& client_;
  client::EventRecorder& recorder_;
  Expectations& expectations_;
};

}  // namespace kcube::controllers
