#include "pkg/kubelet/pod_status.h"

#include "pkg/base/strings.h"

namespace kcube::kubelet {
namespace {

json::value str(std::string_view s) { return json::value(json::key(s)); }

bool sidecar(const core::v1::Container& c) { return c.restart_policy() == "Always"; }

std::string container_uri(const std::string& id) { return id.empty() ? std::string() : "kcube://" + id; }

}  // namespace

json::value terminated_state(const runtime::ContainerStatus& s) {
  json::object t{{"exitCode", s.exit_code}};
  t["reason"] = str(!s.reason.empty() ? s.reason : s.exit_code == 0 ? "Completed" : "Error");
  if (!s.message.empty()) t["message"] = str(s.message);
  // What never ran has "started" at the beginning of time, as other runtimes say it.
  t["startedAt"] = str(format_time(s.started_at));
  t["finishedAt"] = s.finished_at == SystemTime{} ? json::value(nullptr) : str(format_time(s.finished_at));
  t["containerID"] = str(container_uri(s.id));
  return t;
}

json::value StatusBuilder::build(bool over) {
  std::lock_guard lock(worker_.mutex_);
  // Conditions and fields of others (scheduler, users) stay: start from what the API has.
  json::object status = json::get_object(pod_.status().json());
  std::string phase_text = phase(over);
  status["phase"] = str(phase_text);
  if (const json::value* generation = json::at(pod_.json(), {"metadata", "generation"})) status["observedGeneration"] = *generation;
  if (!worker_.failure_reason_.empty()) {
    status["reason"] = str(worker_.failure_reason_);
    status["message"] = str(worker_.failure_message_);
  }
  if (!status.contains("startTime")) {
    const json::value* before = json::find(&worker_.last_status_, "startTime");
    status["startTime"] = before != nullptr ? *before : str(format_time(worker_.context_.clock.now()));
  }
  status["hostIP"] = str(worker_.context_.options.node_ip);
  status["hostIPs"] = json::array{json::object{{"ip", str(worker_.context_.options.node_ip)}}};
  if (worker_.sandbox_) {
    std::vector<std::string> ips = worker_.sandbox_->ips;
    if (pod_.spec().host_network()) ips = {worker_.context_.options.node_ip};
    if (!ips.empty()) {
      status["podIP"] = str(ips.front());
      json::array all;
      for (const std::string& ip : ips) all.push_back(json::object{{"ip", str(ip)}});
      status["podIPs"] = std::move(all);
    }
  }
  if (!pod_.spec().init_containers().empty()) status["initContainerStatuses"] = container_statuses(pod_.spec().init_containers(), true, over);
  status["containerStatuses"] = container_statuses(pod_.spec().containers(), false, over);
  json::array ephemeral;
  for (auto e : pod_.spec().ephemeral_containers()) {
    core::v1::Container c(e.json());
    auto it = worker_.containers_.find(std::string(c.name()));
    ephemeral.push_back(container_status(c, it == worker_.containers_.end() ? ContainerRecord{} : it->second, false, over));
  }
  if (!ephemeral.empty()) status["ephemeralContainerStatuses"] = std::move(ephemeral);
  status["conditions"] = conditions(over, phase_text);
  return status;
}

json::array StatusBuilder::container_statuses(api::views::ListView<core::v1::Container> containers, bool init, bool over) {
  json::array out;
  for (auto c : containers) {
    auto it = worker_.containers_.find(std::string(c.name()));
    out.push_back(container_status(c, it == worker_.containers_.end() ? ContainerRecord{} : it->second, init, over));
  }
  return out;
}

json::object StatusBuilder::container_status(const core::v1::Container& c, const ContainerRecord& r, bool init, bool over) {
  json::object state;
  bool started = false, ready = false;
  if (r.running()) {
    state["running"] = json::object{{"startedAt", str(format_time(r.status.started_at))}};
    started = !r.prober || r.prober->started();
    ready = !over && (!r.prober || r.prober->ready());
  } else if (!r.waiting_reason.empty() && !over) {
    json::object waiting{{"reason", str(r.waiting_reason)}};
    if (!r.waiting_message.empty()) waiting["message"] = str(r.waiting_message);
    state["waiting"] = std::move(waiting);
  } else if (r.exited()) {
    state["terminated"] = terminated_state(r.status);
    // A finished init container is "ready": what it was for is done.
    ready = init && !sidecar(c) && r.status.exit_code == 0;
  } else if (over) {
    // Never started, and never will be.
    state["terminated"] = json::object{{"exitCode", 137}, {"reason", "ContainerStatusUnknown"},
                                       {"message", "The container could not be located when the pod was terminated"}, {"startedAt", nullptr}, {"finishedAt", nullptr}};
  } else {
    bool initializing = !init && !pod_.spec().init_containers().empty() && !worker_.init_done_;
    state["waiting"] = json::object{{"reason", initializing ? "PodInitializing" : init && worker_.sandbox_ ? "PodInitializing" : "ContainerCreating"}};
  }
  json::object out{{"name", str(c.name())}, {"state", std::move(state)}, {"lastState", json::object()}, {"ready", ready}, {"restartCount", r.restarts},
                   {"image", str(c.image())}, {"imageID", str(r.image_id)}, {"started", started}};
  // While its successor waits, the newest attempt is the last one.
  if (out["state"].get_object().contains("waiting") && r.exited()) out["lastState"] = json::object{{"terminated", terminated_state(r.status)}};
  else if (r.last_terminated.is_object()) out["lastState"] = json::object{{"terminated", r.last_terminated}};
  if (!r.id.empty()) out["containerID"] = str(container_uri(r.id));
  const PodResources& resources = worker_.resources_;
  if (const json::value& has = r.running() ? resources.actual(c.name()) : resources.granted(c.name()); !has.is_null()) out["resources"] = has;
  if (const json::value* requests = json::find(&resources.granted(c.name()), "requests")) out["allocatedResources"] = *requests;
  json::array mounts;
  for (auto m : c.volume_mounts()) {
    json::object mount{{"name", str(m.name())}, {"mountPath", str(m.mount_path())}};
    if (m.read_only()) {
      mount["readOnly"] = true;
      mount["recursiveReadOnly"] = "Disabled";
    }
    mounts.push_back(std::move(mount));
  }
  if (!mounts.empty()) out["volumeMounts"] = std::move(mounts);
  return out;
}

std::string StatusBuilder::phase(bool over) const {
  if (!worker_.failure_reason_.empty()) return "Failed";
  std::string_view policy = pod_.spec().restart_policy();
  // A pod that reached its end keeps how it ended.
  std::string_view before = pod_.status().phase();
  if (before == "Succeeded" || before == "Failed") return std::string(before);
  size_t waiting = 0, running = 0, succeeded = 0, failed = 0;
  bool init_failed = false, initializing = false;
  auto record_of = [&](const core::v1::Container& c) {
    auto it = worker_.containers_.find(std::string(c.name()));
    return it == worker_.containers_.end() ? ContainerRecord{} : it->second;
  };
  for (auto c : pod_.spec().init_containers()) {
    if (sidecar(c)) continue;
    ContainerRecord r = record_of(c);
    if (r.exited() && r.status.exit_code == 0) continue;
    if (worker_.init_done_) continue;
    initializing = true;
    if ((r.exited() || r.failed_to_start) && policy == "Never") init_failed = true;
  }
  for (auto c : pod_.spec().containers()) {
    ContainerRecord r = record_of(c);
    if (r.running()) ++running;
    else if (r.exited() && (over || worker_.terminal_ || r.waiting_reason.empty())) ++(r.status.exit_code == 0 ? succeeded : failed);
    else if (r.exited() || r.last_terminated.is_object()) ++running;  // between two attempts
    else if (r.failed_to_start) ++failed;
    else ++waiting;
  }
  if (over || worker_.terminal_) {
    if (init_failed || failed > 0 || waiting > 0 || running > 0) return "Failed";
    return "Succeeded";
  }
  if (init_failed) return "Failed";
  if (initializing || waiting > 0) return "Pending";
  if (running > 0) return "Running";
  // All ended: which may start again?
  if (policy == "Always" || policy.empty()) return "Running";
  if (failed == 0) return "Succeeded";
  return policy == "Never" ? "Failed" : "Running";
}

json::array StatusBuilder::conditions(bool over, std::string_view phase) {
  json::array out;
  json::value scheduled;
  // Those that others own, first.
  for (auto c : pod_.status().conditions()) {
    std::string_view type = c.type();
    if (type == "PodScheduled") scheduled = *c.json();
    else if (!is_kubelet_condition(type)) out.push_back(*c.json());
  }
  if (worker_.resize_pending_) add_condition(out, "PodResizePending", true, worker_.resize_pending_->reason, worker_.resize_pending_->message);
  if (!worker_.resources_.settled() && !over) add_condition(out, "PodResizeInProgress", true, worker_.resize_error_.empty() ? "" : "Error", worker_.resize_error_);
  bool has_sandbox = worker_.sandbox_ && worker_.sandbox_->state == runtime::SandboxState::ready && !over;
  add_condition(out, "PodReadyToStartContainers", has_sandbox);

  std::vector<std::string> incomplete;
  for (auto c : pod_.spec().init_containers()) {
    auto it = worker_.containers_.find(std::string(c.name()));
    bool done = it != worker_.containers_.end() && (sidecar(c) ? it->second.running() : it->second.exited() && it->second.status.exit_code == 0);
    if (!done && !worker_.init_done_) incomplete.emplace_back(c.name());
  }
  if (phase == "Succeeded") add_condition(out, "Initialized", true, "PodCompleted");
  else if (incomplete.empty()) add_condition(out, "Initialized", true);
  else add_condition(out, "Initialized", false, "ContainersNotInitialized", "containers with incomplete status: [" + join(incomplete, " ") + "]");

  std::vector<std::string> unready;
  auto check = [&](const core::v1::Container& c) {
    auto it = worker_.containers_.find(std::string(c.name()));
    bool ready = it != worker_.containers_.end() && it->second.running() && !over && (!it->second.prober || it->second.prober->ready());
    if (!ready) unready.emplace_back(c.name());
  };
  for (auto c : pod_.spec().init_containers())
    if (sidecar(c)) check(c);
  for (auto c : pod_.spec().containers()) check(c);
  std::string reason, message;
  bool containers_ready = unready.empty();
  if (phase == "Succeeded") {
    reason = "PodCompleted";
    containers_ready = false;
  } else if (phase == "Failed") {
    reason = "PodFailed";
    containers_ready = false;
  } else if (!containers_ready) {
    reason = "ContainersNotReady";
    message = "containers with unready status: [" + join(unready, " ") + "]";
  }
  bool ready = containers_ready;
  std::string ready_reason = reason, ready_message = message;
  for (auto gate : pod_.spec().readiness_gates()) {
    bool met = false;
    for (auto c : pod_.status().conditions()) met = met || (c.type() == gate.condition_type() && c.status() == "True");
    if (ready && !met) {
      ready = false;
      ready_reason = "ReadinessGatesNotReady";
      ready_message = "corresponding condition of pod readiness gate \"" + std::string(gate.condition_type()) + "\" does not exist.";
    }
  }
  add_condition(out, "Ready", ready, ready_reason, ready_message);
  add_condition(out, "ContainersReady", containers_ready, reason, message);
  // Pods that named their node themselves have met no scheduler.
  if (scheduled.is_null()) add_condition(out, "PodScheduled", true);
  else out.push_back(std::move(scheduled));
  return out;
}

void StatusBuilder::add_condition(json::array& out, std::string_view type, bool value, std::string_view reason, std::string_view message) {
  json::object c{{"type", str(type)}, {"status", value ? "True" : "False"}, {"lastProbeTime", nullptr}};
  // The time of the last transition stays while the value does.
  json::value since = str(format_time(worker_.context_.clock.now()));
  for (const json::value* source : {json::find(&worker_.last_status_, "conditions"), json::find(pod_.status().json(), "conditions")}) {
    bool found = false;
    for (const json::value& before : json::get_array(source))
      if (json::get_string(before, {"type"}) == type && json::get_string(before, {"status"}) == (value ? "True" : "False")) {
        if (const json::value* t = json::find(&before, "lastTransitionTime")) since = *t;
        found = true;
      }
    if (found) break;
  }
  c["lastTransitionTime"] = std::move(since);
  if (!reason.empty()) c["reason"] = str(reason);
  if (!message.empty()) c["message"] = str(message);
  if (const json::value* generation = json::at(pod_.json(), {"metadata", "generation"})) c["observedGeneration"] = *generation;
  out.push_back(std::move(c));
}

}  // namespace kcube::kubelet
