// PodWorker: one pod on this node, from its binding to its end.
//
// run() brings the pod one step nearer to what the API says, and is called by one thread at a time whenever something
// happened: the pod changed, a container ended, a probe's verdict turned, a back-off is over, a ConfigMap changed.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "pkg/kubelet/context.h"
#include "pkg/kubelet/pod_resources.h"
#include "pkg/kubelet/probes.h"

namespace kcube::kubelet {

// What the worker knows of one container of the pod.
struct ContainerRecord {
  std::string id;                       // of the newest attempt; empty before the first
  int restarts = 0;
  runtime::ContainerStatus status;      // of `id`
  json::value last_terminated;          // ContainerState.terminated of the attempt before, null when there is none
  std::string waiting_reason, waiting_message;
  std::string image_id;
  Duration back_off{};                  // the last one used
  SteadyTime next_start{};
  std::shared_ptr<ContainerProber> prober;
  bool failed_to_start = false;         // the last attempt never ran

  bool running() const { return !id.empty() && status.state == runtime::ContainerState::running; }
  bool exited() const { return !id.empty() && status.state == runtime::ContainerState::exited; }
};

class PodWorker : public std::enable_shared_from_this<PodWorker> {
 public:
  PodWorker(Context& context, api::ObjectPtr pod);
  ~PodWorker();

  // Any thread.
  void update(api::ObjectPtr pod);
  void removed_from_api();
  void wake();
  void wake_after(Duration delay);
  void adopt(runtime::SandboxStatus sandbox);
  // Ends the pod without touching the API, as fast as `limit` allows; for shutting the node down.
  void stop_for_shutdown(std::chrono::milliseconds limit);
  // After this the worker does nothing more; its containers run on.
  void abandon();
  bool finished() const { return finished_; }
  // Nothing of it runs any more: its ports and resources are free.
  bool released() const { return released_; }
  // Before the first wake(): the pod fails without having started.
  void reject(std::string reason, std::string message);
  std::string container_id(std::string_view container_name) const;
  std::string sandbox_id() const;
  api::ObjectPtr pod() const;
  // The log file of a container, of the attempt before with `previous`; empty when there is none.
  std::string log_path(std::string_view container_name, bool previous) const;
  bool container_running(std::string_view container_name) const;
  // The pod with the resources that were granted to it: what it takes of the node.
  api::ObjectPtr granted() const;
  // A resize waits until others make room.
  bool waits_for_room() const;

 private:
  friend class StatusBuilder;
  // pod_worker.cc: the story
  void run();
  void refresh();
  void sync(const core::v1::Pod& pod);
  void finish(const core::v1::Pod& pod);
  bool ensure_sandbox(const core::v1::Pod& pod);
  bool run_init_containers(const core::v1::Pod& pod);
  void run_containers(const core::v1::Pod& pod);
  void publish(const core::v1::Pod& pod);
  bool should_start(const core::v1::Container& container, const ContainerRecord& record, std::string_view restart_policy) const;
  bool all_done(const core::v1::Pod& pod) const;

  // container_start.cc
  bool start(const core::v1::Pod& pod, const core::v1::Container& container);
  Result<runtime::ContainerConfig> configure(const core::v1::Pod& pod, const core::v1::Container& container, const runtime::Image& image,
                                             const std::map<std::string, std::string>& volume_images, ContainerRecord& record);
  Result<std::map<std::string, std::string>> ensure_volume_images(const core::v1::Pod& pod, const core::v1::Container& container, const EnvironmentSources& sources);
  void no_image(std::string_view image, const Status& status, const std::string& container);
  void start_probes(const core::v1::Container& container, ContainerRecord& record);
  void fail_start(const core::v1::Pod& pod, const core::v1::Container& container, ContainerRecord& record, const Status& status);
  void restart_unhealthy(const std::string& name, const std::string& id, ProbeKind kind);

  // resize.cc
  api::ObjectPtr allocate(const api::ObjectPtr& object);
  void actuate(const core::v1::Pod& pod);
  Result<void> apply_resources(const core::v1::Pod& pod, const core::v1::Container& container);
  void restart_for_resize(const core::v1::Container& container, const std::string& id);

  // termination.cc
  void terminate(const core::v1::Pod& pod, std::chrono::milliseconds grace, bool delete_from_api);
  void stop_containers(const core::v1::Pod& pod, std::chrono::milliseconds grace);
  void stop_one(const core::v1::Pod& pod, const core::v1::Container& container, const std::string& id, std::chrono::milliseconds grace);
  void clean_up();

  EnvironmentSources sources(const core::v1::Pod& pod);
  ProbeTarget target(const std::string& container_id) const;
  void event(std::string_view type, std::string_view reason, std::string_view message, std::string_view container = {});
  bool said_lately(const std::string& what);

  Context& context_;
  const std::string ns_, name_, uid_;

  mutable std::mutex mutex_;            // guards what other threads see: the members down to the next comment
  api::ObjectPtr pod_;
  bool gone_from_api_ = false, scheduled_ = false, again_ = false, abandoned_ = false, terminating_ = false;
  std::optional<runtime::SandboxStatus> sandbox_;
  std::map<std::string, ContainerRecord> containers_;
  std::vector<TimerId> timers_;
  PodResources resources_;
  std::optional<Rejection> resize_pending_;   // why the resources asked for were not granted yet
  std::string resize_error_;                  // why those granted are not in force yet
  std::map<std::string, SteadyTime> said_;    // events that repeat on every pass, and when they were last written
  std::map<std::string, std::string> resize_restarts_;   // container name -> the id that is being stopped for its resize

  // run()'s own thread
  std::map<std::string, std::string> volume_paths_;
  bool volumes_ready_ = false, terminal_ = false, init_done_ = false;
  std::string failure_reason_, failure_message_;   // the pod failed as a whole
  json::value last_status_;
  int sandbox_attempt_ = 0;
  Duration retry_{};
  std::atomic<bool> finished_{false}, released_{false};
};

}  // namespace kcube::kubelet
