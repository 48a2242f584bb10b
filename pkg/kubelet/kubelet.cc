#include "pkg/kubelet/kubelet.h"

#include <algorithm>
#include <set>
#include <thread>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/kubelet/node_status.h"
#include "pkg/kubelet/admission.h"
#include "pkg/kubelet/pod_worker.h"
#include "pkg/kubelet/server.h"
#include "pkg/kubelet/static_pods.h"

namespace kcube::kubelet {
namespace {

using client::resources::kPods;

constexpr std::string_view kMirror = "kubernetes.io/config.mirror";

bool is_mirror(const api::Object& pod) { return core::v1::Pod(pod.value()).metadata().annotations().contains(kMirror); }

class KubeletImpl final : public Kubelet {
 public:
  KubeletImpl(Options options, client::Client& client, runtime::PodRuntime& runtime, runtime::ImageStore& images, Clock& clock)
      : context_(std::move(options), client, runtime, images, clock), informers_(client, clock), node_(context_) {}
  ~KubeletImpl() override { stop(); }

  Result<void> open() {
    for (const std::string& dir : {context_.options.data_dir + "/pods", context_.options.log_dir})
      if (auto r = file::make_dirs(dir, 0750); !r) return r;
    auto endpoint = Endpoint::create(
        context_, [this](std::string_view ns, std::string_view name, std::string_view uid) { return find(ns, name, uid); }, [this] { return pods(); });
    if (!endpoint) return fail(endpoint.error());
    endpoint_ = std::move(*endpoint);
    context_.options.port = endpoint_->port();
    return {};
  }

  Result<void> start() override {
    context_.runtime.set_event_sink([this](const runtime::Event& event) { wake(event.sandbox_uid); });
    context_.check_resize = [this](const core::v1::Pod& pod) { return check_resize_of(pod); };
    context_.room_made = [this] { wake_who_waits_for_room(); };
    context_.objects.on_change([this](const std::string& uid) { wake(uid); });
    node_.measure();
    adoptable_ = list_adoptable();
    context_.services = &informers_.informer(client::resources::kServices);
    client::Informer& pods = informers_.informer(kPods, "spec.nodeName=" + context_.options.node_name);
    pods.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { pod_changed(now); },
                       .removed = [this](const api::ObjectPtr& last) { pod_removed(last); }});
    informers_.start();
    endpoint_->start();
    if (auto r = node_.start(); !r) return r;
    // Only when both views are complete is a sandbox nobody knows an orphan.
    context_.workers.submit([this, &pods] {
      pods.wait_synced();
      remove_orphans();
    });
    if (!context_.options.static_pod_dir.empty()) {
      auto watcher = StaticPods::watch(context_.options.static_pod_dir, context_.options.node_name, [this](std::vector<api::ObjectPtr> pods) { set_static_pods(std::move(pods)); });
      if (!watcher) return fail(watcher.error());
      static_pods_ = std::move(*watcher);
    }
    return {};
  }

  void stop() override {
    if (std::exchange(stopped_, true)) return;
    static_pods_.reset();
    node_.stop();
    endpoint_->stop();
    informers_.stop();
    context_.runtime.set_event_sink(nullptr);
    for (auto& worker : all_workers()) worker->abandon();
    context_.workers.stop();
    context_.probes.stop();
    context_.status.stop();
  }

  void stop_pods(std::chrono::milliseconds limit) override {
    std::vector<std::thread> threads;
    for (auto& worker : all_workers()) threads.emplace_back([worker, limit] { worker->stop_for_shutdown(limit); });
    for (auto& t : threads) t.join();
    // What no worker knew of.
    if (auto sandboxes = context_.runtime.list_sandboxes())
      for (const auto& s : *sandboxes) (void)context_.runtime.remove_sandbox(s.id);
  }

  bool node_ready() const override { return node_.ready(); }
  Result<void> set_certificate(const http::TlsOptions& tls) override { return endpoint_->set_certificate(tls); }
  void set_network_ready(bool ready, std::string why) override { node_.set_network_ready(ready, std::move(why)); }

 private:
  using WorkerPtr = std::shared_ptr<PodWorker>;

  std::map<std::string, runtime::SandboxStatus> list_adoptable() {
    std::map<std::string, runtime::SandboxStatus> out;
    auto sandboxes = context_.runtime.list_sandboxes();
    if (!sandboxes) {
      log::error("kubelet", "cannot list sandboxes", {{"error", sandboxes.error()}});
      return out;
    }
    for (auto& s : *sandboxes) {
      auto it = out.find(s.uid);
      if (it == out.end() || it->second.attempt < s.attempt) out[s.uid] = std::move(s);
    }
    return out;
  }

  void remove_orphans() {
    std::map<std::string, runtime::SandboxStatus> orphans;
    std::set<std::string> known;
    {
      std::lock_guard lock(mutex_);
      for (auto& [uid, sandbox] : adoptable_)
        if (!workers_.contains(uid)) orphans.emplace(uid, sandbox);
      adoptable_.clear();
      for (auto& [uid, worker] : workers_) known.insert(uid);
    }
    for (auto& [uid, sandbox] : orphans) {
      log::info("kubelet", "removing a pod that is no longer bound here", {{"pod", sandbox.namespace_ + "/" + sandbox.name}});
      (void)context_.runtime.remove_sandbox(sandbox.id);
    }
    for (const std::string& uid : context_.volumes.pods_on_disk())
      if (!known.contains(uid) && context_.volumes.tear_down(uid)) context_.user_namespaces.release(uid);
  }

  void pod_changed(const api::ObjectPtr& pod) {
    if (is_mirror(*pod)) return;
    WorkerPtr worker;
    bool fresh = false;
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      WorkerPtr& slot = workers_[std::string(pod->uid())];
      if (!slot || slot->finished()) {
        // What ended is not begun again by its own last update.
        if (slot && pod->deleting()) return;
        slot = std::make_shared<PodWorker>(context_, pod);
        fresh = true;
        auto it = adoptable_.find(std::string(pod->uid()));
        if (it != adoptable_.end()) slot->adopt(it->second);
        else admit(*slot, pod);
      }
      worker = slot;
    }
    if (fresh) worker->wake();
    else worker->update(pod);
  }

  // The pods that hold something of the node, without one. Under mutex_.
  std::vector<api::ObjectPtr> others(std::string_view without) const {
    std::vector<api::ObjectPtr> out;
    for (auto& [uid, worker] : workers_)
      if (worker && uid != without && !worker->released()) out.push_back(worker->granted());
    return out;
  }

  NodeRoom room() const { return {context_.cpu_millis, context_.memory_bytes, static_cast<size_t>(context_.options.max_pods)}; }

  static std::vector<core::v1::Pod> views(const std::vector<api::ObjectPtr>& objects) {
    std::vector<core::v1::Pod> out;
    for (const api::ObjectPtr& object : objects) out.emplace_back(object->value());
    return out;
  }

  std::optional<Rejection> check_resize_of(const core::v1::Pod& pod) const {
    std::vector<api::ObjectPtr> kept;
    {
      std::lock_guard lock(mutex_);
      kept = others(pod.metadata().uid());
    }
    return check_resize(pod, views(kept), room());
  }

  void wake_who_waits_for_room() {
    for (auto& worker : all_workers())
      if (worker->waits_for_room()) worker->wake();
  }

  // A pod that there is no room for fails before anything of it starts. Under mutex_, before its first turn.
  void admit(PodWorker& fresh, const api::ObjectPtr& pod) {
    if (pod->deleting() || fresh.released()) return;
    std::vector<api::ObjectPtr> kept = others(pod->uid());
    auto rejection = check_admission(core::v1::Pod(pod->value()), views(kept), room());
    if (rejection) fresh.reject(std::move(rejection->reason), std::move(rejection->message));
  }

  void pod_removed(const api::ObjectPtr& pod) {
    WorkerPtr worker;
    {
      std::lock_guard lock(mutex_);
      auto it = workers_.find(std::string(pod->uid()));
      if (it == workers_.end()) return;
      worker = it->second;
      workers_.erase(it);
    }
    if (!worker->finished()) worker->removed_from_api();
    wake_who_waits_for_room();
  }

  void set_static_pods(std::vector<api::ObjectPtr> pods) {
    std::set<std::string> now;
    for (const api::ObjectPtr& pod : pods) {
      now.insert(std::string(pod->uid()));
      bool known;
      {
        std::lock_guard lock(mutex_);
        known = workers_.contains(std::string(pod->uid()));
      }
      if (!known) pod_changed(pod);
      make_mirror(*pod);
    }
    std::vector<api::ObjectPtr> gone;
    for (const api::ObjectPtr& pod : static_set_)
      if (!now.contains(std::string(pod->uid()))) gone.push_back(pod);
    static_set_ = std::move(pods);
    for (const api::ObjectPtr& pod : gone) {
      pod_removed(pod);
      (void)context_.client.remove(kPods, pod->namespace_(), pod->name(), {.grace_period_seconds = 0});
    }
  }

  void make_mirror(const api::Object& pod) {
    json::value mirror = pod.value();
    json::object& metadata = json::ensure_path(mirror, {"metadata"});
    json::ensure_object(metadata, "annotations")[json::key(kMirror)] = json::key(pod.uid());
    metadata.erase("uid");
    auto existing = context_.client.get(kPods, pod.namespace_(), pod.name());
    if (existing) {
      if (core::v1::Pod((*existing)->value()).metadata().annotations().get(kMirror) == pod.uid()) return;
      (void)context_.client.remove(kPods, pod.namespace_(), pod.name(), {.grace_period_seconds = 0});
    }
    if (auto r = context_.client.create(kPods, pod.namespace_(), mirror); !r)
      log::warn("kubelet", "cannot create mirror pod", {{"pod", pod.key()}, {"error", r.error()}});
  }

  void wake(const std::string& uid) {
    WorkerPtr worker;
    {
      std::lock_guard lock(mutex_);
      auto it = workers_.find(uid);
      if (it == workers_.end()) return;
      worker = it->second;
    }
    worker->wake();
  }

  WorkerPtr find(std::string_view ns, std::string_view name, std::string_view uid) {
    for (auto& worker : all_workers()) {
      api::ObjectPtr pod = worker->pod();
      if (pod->namespace_() == ns && pod->name() == name && (uid.empty() || pod->uid() == uid)) return worker;
    }
    return nullptr;
  }

  std::vector<WorkerPtr> all_workers() {
    std::lock_guard lock(mutex_);
    std::vector<WorkerPtr> out;
    for (auto& [uid, worker] : workers_) out.push_back(worker);
    return out;
  }

  std::vector<api::ObjectPtr> pods() {
    std::vector<api::ObjectPtr> out;
    for (auto& worker : all_workers()) out.push_back(worker->pod());
    return out;
  }

  Context context_;
  client::InformerFactory informers_;
  NodeStatus node_;
  std::unique_ptr<Endpoint> endpoint_;
  std::unique_ptr<StaticPods> static_pods_;
  std::vector<api::ObjectPtr> static_set_;  // the watcher's thread only
  mutable std::mutex mutex_;
  std::map<std::string, WorkerPtr> workers_;  // by uid
  std::map<std::string, runtime::SandboxStatus> adoptable_;
  bool stopped_ = false;
};

}  // namespace

Result<std::unique_ptr<Kubelet>> Kubelet::create(Options options, client::Client& client, runtime::PodRuntime& runtime, runtime::ImageStore& images, Clock& clock) {
  auto kubelet = std::make_unique<KubeletImpl>(std::move(options), client, runtime, images, clock);
  if (auto r = kubelet->open(); !r) return fail(r.error());
  return kubelet;
}

}  // namespace kcube::kubelet
