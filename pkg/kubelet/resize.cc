// In-place resize: requests that are granted or wait for room, and what is granted brought into the cgroups.
#include "pkg/kubelet/pod_worker.h"
#include "pkg/kubelet/resources.h"

namespace kcube::kubelet {
namespace {
constexpr Duration kRetry = std::chrono::seconds(5);   // for a memory limit below what is in use
}  // namespace

api::ObjectPtr PodWorker::granted() const {
  std::lock_guard lock(mutex_);
  if (!resize_pending_) return pod_;
  auto object = api::Object::from_value(resources_.granted(core::v1::Pod(pod_->value())));
  return object ? *object : pod_;
}

bool PodWorker::waits_for_room() const {
  std::lock_guard lock(mutex_);
  return resize_pending_ && resize_pending_->reason == "Deferred";
}

// The pod as it may run now: with the resources it asks for when they are granted, else with those it has.
api::ObjectPtr PodWorker::allocate(const api::ObjectPtr& object) {
  core::v1::Pod pod(object->value());
  {
    std::lock_guard lock(mutex_);
    if (!resources_.asks_for_more(pod)) {
      resize_pending_.reset();
      return object;
    }
  }
  auto why = context_.check_resize(pod);
  bool news;
  {
    std::lock_guard lock(mutex_);
    news = why && (!resize_pending_ || resize_pending_->reason != why->reason);
    resize_pending_ = why;
    if (!why) resources_.grant(pod);
  }
  if (news) event("Warning", why->reason == "Deferred" ? "ResizeDeferred" : "ResizeInfeasible", why->message);
  if (why) return granted();
  event("Normal", "ResizeStarted", "Pod resize started");
  context_.room_made();   // it may have become smaller
  return object;
}

// Containers that run get what was granted: into their cgroups, or by a restart where their resizePolicy says so.
void PodWorker::actuate(const core::v1::Pod& pod) {
  {
    std::lock_guard lock(mutex_);
    if (resources_.settled()) return;
  }
  std::string error;
  auto visit = [&](const core::v1::Container& c) {
    if (auto r = apply_resources(pod, c); !r) error = r.error().message();
  };
  for (auto c : pod.spec().containers()) visit(c);
  for (auto c : pod.spec().init_containers()) visit(c);
  bool done;
  {
    std::lock_guard lock(mutex_);
    done = resources_.settled();
    resize_error_ = error;
  }
  if (done) event("Normal", "ResizeCompleted", "Pod resize completed");
  if (!error.empty()) wake_after(kRetry);
}

Result<void> PodWorker::apply_resources(const core::v1::Pod& pod, const core::v1::Container& container) {
  std::string name(container.name()), id;
  json::value actual, granted;
  {
    std::lock_guard lock(mutex_);
    if (resources_.settled(name)) return {};
    const ContainerRecord& record = containers_[name];
    if (!record.running()) {
      resources_.applied(name);   // it will start with them
      return {};
    }
    id = record.id;
    if (resize_restarts_[name] == id) return {};
    actual = resources_.actual(name);
    granted = resources_.granted(name);
  }
  if (restarts_for(container, changed_resources(actual, granted))) {
    restart_for_resize(container, id);
    return {};
  }
  runtime::ResourceLimits limits = container_limits(pod, container, context_.memory_bytes);
  if (limits.memory_limit_bytes > 0) {
    auto stats = context_.runtime.container_stats(id);
    if (stats && stats->memory_usage_bytes > static_cast<uint64_t>(limits.memory_limit_bytes))
      return fail(Status::unavailable("attempting to set container memory limit (" + std::to_string(limits.memory_limit_bytes) + ") below current usage (" +
                                   std::to_string(stats->memory_usage_bytes) + ")"));
  }
  if (auto r = context_.runtime.update_resources(id, limits); !r) return r;
  std::lock_guard lock(mutex_);
  resources_.applied(name);
  return {};
}

void PodWorker::restart_for_resize(const core::v1::Container& container, const std::string& id) {
  std::string name(container.name());
  api::ObjectPtr object = pod();
  {
    std::lock_guard lock(mutex_);
    resize_restarts_[name] = id;
    containers_[name].back_off = {};
  }
  event("Normal", "Killing", "Container " + name + " resize requires restart", name);
  auto grace = std::chrono::seconds(core::v1::Pod(object->value()).spec().termination_grace_period_seconds(30));
  context_.workers.submit([self = shared_from_this(), object, container, id, grace] {
    self->stop_one(core::v1::Pod(object->value()), container, id, grace);
    self->wake();
  });
}

}  // namespace kcube::kubelet
