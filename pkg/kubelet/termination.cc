// The end of a pod: hooks, signals, the sandbox, the last status, and its name given back.
#include <algorithm>
#include <condition_variable>
#include <latch>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/kubelet/pod_status.h"
#include "pkg/kubelet/pod_worker.h"

namespace kcube::kubelet {
namespace {
using std::chrono::milliseconds;
constexpr milliseconds kMinimumGrace{std::chrono::seconds(2)};  // after a preStop hook used the grace up
}  // namespace

void PodWorker::terminate(const core::v1::Pod& pod, milliseconds grace, bool delete_from_api) {
  bool ran;
  {
    std::lock_guard lock(mutex_);
    terminating_ = true;
    ran = sandbox_.has_value();
    for (auto& [name, record] : containers_)
      if (record.prober) record.prober->stop();
  }
  if (ran) {
    // Endpoints learn at once that it is not ready any more.
    publish(pod);
    stop_containers(pod, grace);
    refresh();
  }
  if (auto r = context_.runtime.stop_sandbox(sandbox_id()); ran && !r)
    log::warn("kubelet", "cannot stop sandbox", {{"pod", ns_ + "/" + name_}, {"error", r.error()}});
  released_ = true;
  if (delete_from_api) {
    if (!terminal_) {
      context_.status.set(ns_, name_, uid_, StatusBuilder(*this, pod).build(true));
      context_.status.flush(uid_);
    }
    auto r = context_.client.remove(client::resources::kPods, ns_, name_, {.uid = uid_, .grace_period_seconds = 0});
    if (!r && !r.error().is_not_found() && !r.error().is_conflict()) {
      // The server is away: the pod stays ours, and the next pass tries again.
      log::warn("kubelet", "cannot delete pod", {{"pod", ns_ + "/" + name_}, {"error", r.error()}});
      context_.clock.schedule(std::chrono::seconds(2), [self = shared_from_this()] {
        self->context_.workers.submit([self] {
          api::ObjectPtr object = self->pod();
          self->terminate(core::v1::Pod(object->value()), {}, true);
        });
      });
      return;
    }
  }
  clean_up();
}

void PodWorker::clean_up() {
  std::string sandbox = sandbox_id();
  if (!sandbox.empty())
    if (auto r = context_.runtime.remove_sandbox(sandbox); !r)
      log::warn("kubelet", "cannot remove sandbox", {{"pod", ns_ + "/" + name_}, {"error", r.error()}});
  if (auto r = context_.volumes.tear_down(uid_); !r)
    log::warn("kubelet", "cannot remove volumes", {{"pod", ns_ + "/" + name_}, {"error", r.error()}});
  else
    context_.user_namespaces.release(uid_);
  (void)file::remove_tree(context_.options.log_dir + "/" + ns_ + "_" + name_ + "_" + uid_);
  context_.objects.forget(uid_);
  context_.status.forget(uid_);
}

// Regular containers together, then sidecars in the reverse order of their start.
void PodWorker::stop_containers(const core::v1::Pod& pod, milliseconds grace) {
  auto end = std::chrono::steady_clock::now() + grace;
  std::vector<std::pair<core::v1::Container, std::string>> regular, sidecars;
  {
    std::lock_guard lock(mutex_);
    auto add = [&](const core::v1::Container& c, auto& list) {
      auto it = containers_.find(std::string(c.name()));
      if (it != containers_.end() && it->second.running()) list.emplace_back(c, it->second.id);
    };
    for (auto c : pod.spec().containers()) add(c, regular);
    for (auto e : pod.spec().ephemeral_containers()) add(core::v1::Container(e.json()), regular);
    for (auto c : pod.spec().init_containers()) c.restart_policy() == "Always" ? add(c, sidecars) : add(c, regular);
  }
  std::latch stopped(static_cast<std::ptrdiff_t>(regular.size()));
  for (auto& [container, id] : regular) {
    event("Normal", "Killing", "Stopping container " + std::string(container.name()), container.name());
    // Each on a thread of its own: their graces run together.
    bool queued = context_.workers.submit([this, &pod, &stopped, container = container, id = id, grace] {
      stop_one(pod, container, id, grace);
      stopped.count_down();
    });
    if (!queued) {
      stop_one(pod, container, id, grace);
      stopped.count_down();
    }
  }
  stopped.wait();
  std::ranges::reverse(sidecars);
  for (auto& [container, id] : sidecars) {
    event("Normal", "Killing", "Stopping container " + std::string(container.name()), container.name());
    auto left = std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
    stop_one(pod, container, id, std::clamp(left, milliseconds(0), grace));
  }
}

void PodWorker::stop_one(const core::v1::Pod& pod, const core::v1::Container& container, const std::string& id, milliseconds grace) {
  (void)pod;
  auto end = std::chrono::steady_clock::now() + grace;
  if (auto hook = container.lifecycle().pre_stop(); hook && grace > milliseconds(0)) {
    // The hook's time counts against the grace; when it is over the container is stopped whatever the hook does.
    struct Waiter {
      std::mutex mutex;
      std::condition_variable changed;
      bool done = false;
    };
    auto waiter = std::make_shared<Waiter>();
    api::ObjectPtr keep = this->pod();
    std::string name(container.name());
    int64_t sleep_seconds = hook.sleep() ? hook.sleep().seconds() : 0;
    if (sleep_seconds > 0) {
      std::unique_lock lock(waiter->mutex);
      waiter->changed.wait_for(lock, std::min<milliseconds>(grace, std::chrono::seconds(sleep_seconds)), [&] { return !container_running(name); });
    } else {
      context_.workers.submit([self = shared_from_this(), waiter, keep, container, id, name] {
        core::v1::LifecycleHandler handler = container.lifecycle().pre_stop();
        if (auto r = run_handler(handler, container, self->target(id)); !r) self->event("Warning", "FailedPreStopHook", "PreStopHook failed", name);
        std::lock_guard lock(waiter->mutex);
        waiter->done = true;
        waiter->changed.notify_all();
      });
      std::unique_lock lock(waiter->mutex);
      waiter->changed.wait_until(lock, end, [&] { return waiter->done; });
    }
  }
  auto left = std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
  if (grace > milliseconds(0)) left = std::max(left, std::min(grace, kMinimumGrace));
  if (auto r = context_.runtime.stop_container(id, std::max(left, milliseconds(0))); !r)
    log::warn("kubelet", "cannot stop container", {{"container", id}, {"error", r.error()}});
}

void PodWorker::stop_for_shutdown(milliseconds limit) {
  api::ObjectPtr object = pod();
  core::v1::Pod view(object->value());
  abandon();
  refresh();
  stop_containers(view, std::min<milliseconds>(limit, std::chrono::seconds(view.spec().termination_grace_period_seconds(30))));
  (void)context_.runtime.remove_sandbox(sandbox_id());
}

}  // namespace kcube::kubelet
