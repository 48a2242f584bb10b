#include "pkg/kubelet/pod_worker.h"

#include <algorithm>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/kubelet/logs.h"
#include "pkg/kubelet/pod_status.h"
#include "pkg/kubelet/resources.h"

namespace kcube::kubelet {
namespace {

constexpr Duration kFirstRetry = std::chrono::milliseconds(500);
constexpr Duration kPatience = std::chrono::seconds(4);
constexpr Duration kSayAgain = std::chrono::seconds(10);
constexpr Duration kLastRetry = std::chrono::minutes(2);

bool sidecar(const core::v1::Container& c) { return c.restart_policy() == "Always"; }

std::string restart_policy_of(const core::v1::Pod& pod) {
  std::string_view policy = pod.spec().restart_policy();
  return policy.empty() ? "Always" : std::string(policy);
}

std::vector<std::string> lines_of(const std::string& text, std::string_view keyword) {
  std::vector<std::string> out;
  for (std::string_view line : split(text, '\n')) {
    line = trim(line);
    if (!line.starts_with(keyword) || line.size() <= keyword.size()) continue;
    for (std::string_view word : split(trim(line.substr(keyword.size())), ' '))
      if (!word.empty()) out.emplace_back(word);
  }
  return out;
}

// resolv.conf of the pod. Source: the Kubernetes docs, "DNS for Services and Pods".
runtime::DnsConfig dns_of(const core::v1::Pod& pod, const Options& options) {
  runtime::DnsConfig dns;
  std::string_view policy = pod.spec().dns_policy();
  bool cluster = policy == "ClusterFirstWithHostNet" || (policy != "Default" && policy != "None" && !pod.spec().host_network());
  if (cluster) {
    dns.servers = {options.cluster_dns};
    std::string ns(pod.metadata().namespace_());
    dns.searches = {ns + ".svc." + options.cluster_domain, "svc." + options.cluster_domain, options.cluster_domain};
    dns.options = {"ndots:5"};
  }
  if (policy != "None") {
    std::string host = file::read("/etc/resolv.conf").value_or("");
    if (!cluster) dns.servers = lines_of(host, "nameserver ");
    for (std::string& s : lines_of(host, "search ")) dns.searches.push_back(std::move(s));
    if (!cluster) dns.options = lines_of(host, "options ");
  }
  auto extra = pod.spec().dns_config();
  for (std::string_view s : extra.nameservers()) dns.servers.emplace_back(s);
  for (std::string_view s : extra.searches()) dns.searches.emplace_back(s);
  for (auto o : extra.options()) dns.options.push_back(std::string(o.name()) + (o.has_value() ? ":" + std::string(o.value()) : ""));
  return dns;
}

std::string hostname_of(const core::v1::Pod& pod) {
  std::string name(pod.spec().hostname().empty() ? pod.metadata().name() : pod.spec().hostname());
  if (name.size() > 63) name.resize(63);
  while (name.ends_with('-') || name.ends_with('.')) name.pop_back();
  if (pod.spec().set_hostname_as_fqdn() && !pod.spec().subdomain().empty())
    name += "." + std::string(pod.spec().subdomain()) + "." + std::string(pod.metadata().namespace_()) + ".svc.cluster.local";
  return name;
}

constexpr size_t kMessageLimit = 4096, kLogMessageLimit = 2048;

// What a container left at its terminationMessagePath, or the end of its log when it failed and the policy says so.
void read_termination_message(ContainerRecord& record) {
  runtime::ContainerStatus& status = record.status;
  auto file_name = status.annotations.find("io.kubernetes.container.terminationMessageFile");
  if (!status.message.empty() || file_name == status.annotations.end()) return;
  std::string text = file::read(file_name->second).value_or("");
  if (text.size() > kMessageLimit) text.erase(0, text.size() - kMessageLimit);
  auto policy = status.annotations.find("io.kubernetes.container.terminationMessagePolicy");
  bool fall_back = policy != status.annotations.end() && policy->second == "FallbackToLogsOnError" && status.exit_code != 0;
  if (text.empty() && fall_back) {
    (void)read_log(status.log_path, {.tail_lines = 80}, [&](std::string_view piece) {
      text += piece;
      return true;
    }, [] { return true; });
    if (text.size() > kLogMessageLimit) text.erase(0, text.size() - kLogMessageLimit);
  }
  status.message = std::move(text);
}

runtime::SandboxConfig sandbox_config(const core::v1::Pod& pod, const Options& options, int attempt) {
  runtime::SandboxConfig config;
  config.name = pod.metadata().name();
  config.namespace_ = pod.metadata().namespace_();
  config.uid = pod.metadata().uid();
  config.attempt = static_cast<uint32_t>(attempt);
  bool host_network = pod.spec().host_network();
  if (!host_network) config.hostname = hostname_of(pod);
  config.log_directory = options.log_dir + "/" + config.namespace_ + "_" + config.name + "_" + config.uid;
  config.dns = dns_of(pod, options);
  config.cgroup_parent = pod_cgroup(options.cgroup_root, pod);
  config.network = host_network ? runtime::NamespaceMode::node : runtime::NamespaceMode::pod;
  config.pid = pod.spec().host_pid() ? runtime::NamespaceMode::node
               : pod.spec().share_process_namespace() ? runtime::NamespaceMode::pod : runtime::NamespaceMode::container;
  config.ipc = pod.spec().host_ipc() ? runtime::NamespaceMode::node : runtime::NamespaceMode::pod;
  for (auto s : pod.spec().security_context().sysctls()) config.sysctls[std::string(s.name())] = std::string(s.value());
  config.labels = {{"io.kubernetes.pod.name", config.name}, {"io.kubernetes.pod.namespace", config.namespace_}, {"io.kubernetes.pod.uid", config.uid}};
  if (!host_network) {
    for (auto c : pod.spec().containers())
      for (auto p : c.ports())
        if (p.host_port() > 0)
          config.port_mappings.push_back({p.protocol() == "UDP" ? runtime::Protocol::udp : p.protocol() == "SCTP" ? runtime::Protocol::sctp : runtime::Protocol::tcp,
                                          static_cast<uint16_t>(p.container_port()), static_cast<uint16_t>(p.host_port()), std::string(p.host_ip())});
  }
  return config;
}

// Where the container is in the spec: "spec.initContainers{name}".
std::string field_path(const core::v1::Pod& pod, std::string_view container) {
  if (container.empty()) return {};
  std::string_view list = "containers";
  for (auto c : pod.spec().init_containers())
    if (c.name() == container) list = "initContainers";
  for (auto c : pod.spec().ephemeral_containers())
    if (c.name() == container) list = "ephemeralContainers";
  return "spec." + std::string(list) + "{" + std::string(container) + "}";
}

}  // namespace

PodWorker::PodWorker(Context& context, api::ObjectPtr pod)
    : context_(context), ns_(pod->namespace_()), name_(pod->name()), uid_(pod->uid()), pod_(std::move(pod)), resources_(core::v1::Pod(pod_->value())) {
  // Restart counts and last states outlive a restarted kubelet in the status that it wrote.
  core::v1::Pod view(pod_->value());
  auto remember = [&](core::v1::ContainerStatus s) {
    ContainerRecord& record = containers_[std::string(s.name())];
    record.restarts = static_cast<int>(s.restart_count());
    if (const json::value* t = json::at(s.json(), {"lastState", "terminated"})) record.last_terminated = *t;
  };
  for (auto s : view.status().container_statuses()) remember(s);
  for (auto s : view.status().init_container_statuses()) remember(s);
  std::string_view phase = view.status().phase();
  terminal_ = phase == "Succeeded" || phase == "Failed";
  if (terminal_) last_status_ = *view.status().json();
  released_ = terminal_;
}

void PodWorker::reject(std::string reason, std::string message) {
  event("Warning", reason, message);
  failure_reason_ = std::move(reason);
  failure_message_ = std::move(message);
  terminal_ = true;
  released_ = true;
}

PodWorker::~PodWorker() {
  for (TimerId t : timers_) context_.clock.cancel(t);
}

void PodWorker::update(api::ObjectPtr pod) {
  bool hurry = false;
  int64_t grace = 0;
  {
    std::lock_guard lock(mutex_);
    if (terminating_ && pod->deleting()) {
      // A second delete may shorten the grace of the first.
      core::v1::Pod now(pod->value()), before(pod_->value());
      grace = now.metadata().deletion_grace_period_seconds(30);
      hurry = !pod_->deleting() || grace < before.metadata().deletion_grace_period_seconds(30);
    }
    pod_ = std::move(pod);
  }
  if (hurry)
    context_.workers.submit([self = shared_from_this(), grace] {
      api::ObjectPtr object = self->pod();
      self->stop_containers(core::v1::Pod(object->value()), std::chrono::seconds(std::max<int64_t>(grace, 0)));
    });
  wake();
}

void PodWorker::removed_from_api() {
  {
    std::lock_guard lock(mutex_);
    gone_from_api_ = true;
  }
  wake();
}

void PodWorker::adopt(runtime::SandboxStatus sandbox) {
  std::lock_guard lock(mutex_);
  if (sandbox_ && sandbox_->attempt > sandbox.attempt) return;
  sandbox_attempt_ = static_cast<int>(sandbox.attempt) + 1;
  sandbox_ = std::move(sandbox);
}

void PodWorker::abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
  for (auto& [name, record] : containers_)
    if (record.prober) record.prober->stop();
}

void PodWorker::wake() {
  {
    std::lock_guard lock(mutex_);
    if (abandoned_) return;
    if (scheduled_) {
      again_ = true;
      return;
    }
    scheduled_ = true;
  }
  context_.workers.submit([self = shared_from_this()] {
    while (true) {
      self->run();
      std::lock_guard lock(self->mutex_);
      if (!self->again_ || self->abandoned_) {
        self->scheduled_ = false;
        return;
      }
      self->again_ = false;
    }
  });
}

void PodWorker::wake_after(Duration delay) {
  TimerId id = context_.clock.schedule(delay, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->wake();
  });
  std::lock_guard lock(mutex_);
  timers_.push_back(id);
  if (timers_.size() > 16) timers_.erase(timers_.begin(), timers_.begin() + 8);
}

api::ObjectPtr PodWorker::pod() const {
  std::lock_guard lock(mutex_);
  return pod_;
}

std::string PodWorker::sandbox_id() const {
  std::lock_guard lock(mutex_);
  return sandbox_ ? sandbox_->id : std::string();
}

std::string PodWorker::container_id(std::string_view container_name) const {
  std::lock_guard lock(mutex_);
  auto it = containers_.find(std::string(container_name));
  return it == containers_.end() ? std::string() : it->second.id;
}

bool PodWorker::container_running(std::string_view container_name) const {
  std::lock_guard lock(mutex_);
  auto it = containers_.find(std::string(container_name));
  return it != containers_.end() && it->second.running();
}

std::string PodWorker::log_path(std::string_view container_name, bool previous) const {
  std::lock_guard lock(mutex_);
  auto it = containers_.find(std::string(container_name));
  if (it == containers_.end() || (it->second.id.empty() && !previous)) return {};
  int attempt = it->second.restarts - (previous ? 1 : 0);
  if (attempt < 0) return {};
  return context_.options.log_dir + "/" + ns_ + "_" + name_ + "_" + uid_ + "/" + std::string(container_name) + "/" + std::to_string(attempt) + ".log";
}

EnvironmentSources PodWorker::sources(const core::v1::Pod& pod) {
  EnvironmentSources s = context_.sources(pod);
  std::lock_guard lock(mutex_);
  if (sandbox_) s.pod_ips = pod.spec().host_network() ? std::vector<std::string>{context_.options.node_ip} : sandbox_->ips;
  if (!s.pod_ips.empty()) s.pod_ip = s.pod_ips.front();
  return s;
}

ProbeTarget PodWorker::target(const std::string& container_id) const {
  std::lock_guard lock(mutex_);
  std::string ip = sandbox_ && !sandbox_->ips.empty() ? sandbox_->ips.front() : context_.options.node_ip;
  return {&context_.runtime, container_id, std::move(ip)};
}

// Passes come as often as something changes; what they find again is said every ten seconds, as kubelets come by.
bool PodWorker::said_lately(const std::string& what) {
  constexpr std::string_view kRepeating[] = {"BackOff|", "Failed|", "FailedMount|", "Pulled|", "FailedCreatePodSandBox|"};
  if (std::ranges::none_of(kRepeating, [&](std::string_view reason) { return what.starts_with(reason); })) return false;
  SteadyTime now = context_.clock.steady_now();
  std::lock_guard lock(mutex_);
  if (said_.size() > 64) said_.clear();
  auto [entry, fresh] = said_.try_emplace(what, now);
  if (!fresh && now - entry->second < kSayAgain) return true;
  entry->second = now;
  return false;
}

void PodWorker::event(std::string_view type, std::string_view reason, std::string_view message, std::string_view container) {
  if (said_lately(std::string(reason) + "|" + std::string(container) + "|" + std::string(message))) return;
  api::ObjectPtr object = pod();
  std::string path = field_path(core::v1::Pod(object->value()), container);
  context_.recorder.event(object->value(), type, reason, message, path);
}

void PodWorker::run() {
  if (finished_) return;
  api::ObjectPtr object = pod();
  api::ObjectPtr allocated = terminal_ || object->deleting() ? object : allocate(object);
  core::v1::Pod pod(allocated->value());
  bool gone;
  {
    std::lock_guard lock(mutex_);
    gone = gone_from_api_;
  }
  refresh();
  if (gone || object->deleting()) {
    int64_t grace = pod.metadata().has_deletion_grace_period_seconds() ? pod.metadata().deletion_grace_period_seconds()
                                                                       : pod.spec().termination_grace_period_seconds(30);
    terminate(pod, std::chrono::seconds(std::max<int64_t>(0, grace)), !gone);
    finished_ = true;
    return;
  }
  sync(pod);
  if (object == this->pod()) publish(pod);
}

// Reads the state of the containers from the runtime.
void PodWorker::refresh() {
  std::string sandbox = sandbox_id();
  if (sandbox.empty()) return;
  auto status = context_.runtime.sandbox_status(sandbox);
  auto list = context_.runtime.list_containers(sandbox);
  std::lock_guard lock(mutex_);
  if (status) sandbox_ = *status;
  else if (status.error().is_not_found()) sandbox_->state = runtime::SandboxState::not_ready;
  if (!list) return;
  for (runtime::ContainerStatus& c : *list) {
    ContainerRecord& record = containers_[c.name];
    bool newer = record.id.empty() || static_cast<int>(c.attempt) >= record.restarts;
    if (!newer && record.id != c.id) continue;
    if (record.id.empty() || record.id == c.id || static_cast<int>(c.attempt) >= record.restarts) {
      record.id = c.id;
      record.restarts = static_cast<int>(c.attempt);
      record.image_id = c.image_id;
      record.status = std::move(c);
    }
    if (record.exited()) {
      read_termination_message(record);
      if (record.prober) record.prober->stop();
      record.prober = nullptr;
    }
  }
}

// Nothing of the pod runs again; its place on the node is free.
void PodWorker::finish(const core::v1::Pod& pod) {
  terminal_ = true;
  stop_containers(pod, std::chrono::seconds(pod.spec().termination_grace_period_seconds(30)));
  refresh();
  (void)context_.runtime.stop_sandbox(sandbox_id());
  released_ = true;
  context_.room_made();
}

void PodWorker::sync(const core::v1::Pod& pod) {
  if (terminal_) return;
  if (all_done(pod)) {
    // Sidecars end when the last regular container has.
    return finish(pod);
  }
  if (int64_t deadline = pod.spec().active_deadline_seconds(); deadline > 0) {
    SystemTime start;
    if (parse_time(pod.status().start_time(), start)) {
      auto left = start + std::chrono::seconds(deadline) - context_.clock.now();
      if (left <= Duration::zero()) {
        failure_reason_ = "DeadlineExceeded";
        failure_message_ = "Pod was active on the node longer than the specified deadline";
        return finish(pod);
      }
      wake_after(left);
    }
  }
  if (!ensure_sandbox(pod)) return;
  actuate(pod);
  if (!run_init_containers(pod)) return;
  run_containers(pod);
}

bool PodWorker::ensure_sandbox(const core::v1::Pod& pod) {
  bool ready;
  std::string old;
  {
    std::lock_guard lock(mutex_);
    ready = sandbox_ && sandbox_->state == runtime::SandboxState::ready;
    if (sandbox_ && !ready) old = sandbox_->id;
  }
  auto later = [&](std::string_view reason, const Status& status) {
    // What is still being made (a claim's volume) is no trouble before it takes long.
    if (status.code() != 503 || retry_ >= kPatience) event("Warning", reason, status.message());
    retry_ = retry_ == Duration::zero() ? kFirstRetry : std::min(kLastRetry, retry_ * 2);
    wake_after(retry_);
    return false;
  };
  // Set up again on every pass: files follow their ConfigMaps and Secrets.
  auto volumes = context_.volumes.set_up(pod, sources(pod));
  if (!volumes) {
    if (!volumes_ready_ || !ready) return later("FailedMount", volumes.error());
    log::warn("kubelet", "cannot refresh volumes", {{"pod", ns_ + "/" + name_}, {"error", volumes.error()}});
  } else {
    volume_paths_ = std::move(*volumes);
    volumes_ready_ = true;
  }
  if (ready) return true;
  if (!old.empty()) {
    event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
    (void)context_.runtime.remove_sandbox(old);
    std::lock_guard lock(mutex_);
    for (auto& [name, record] : containers_) {
      if (record.prober) record.prober->stop();
      bool ran = !record.id.empty();
      int restarts = record.restarts + (ran ? 1 : 0);
      record = {.restarts = restarts, .last_terminated = ran ? terminated_state(record.status) : record.last_terminated};
      // The count moves on when the container starts again.
      if (ran) record.restarts = restarts;
    }
    init_done_ = false;
  }
  runtime::SandboxConfig config = sandbox_config(pod, context_.options, sandbox_attempt_++);
  if (pod.spec().has_host_users() && !pod.spec().host_users()) {
    auto start = context_.user_namespaces.allocate(uid_);
    if (!start) return later("FailedCreatePodSandBox", start.error().with_context("Failed to create pod sandbox"));
    config.user_namespace_start = *start;
  }
  auto sandbox = context_.runtime.run_sandbox(config);
  if (!sandbox) return later("FailedCreatePodSandBox", sandbox.error().with_context("Failed to create pod sandbox"));
  retry_ = {};
  std::lock_guard lock(mutex_);
  sandbox_ = std::move(*sandbox);
  return true;
}

// True when regular containers may run.
bool PodWorker::run_init_containers(const core::v1::Pod& pod) {
  std::string policy = restart_policy_of(pod);
  // A regular container that exists shows that initialisation is behind us, also after a restart of the kubelet.
  if (!init_done_) {
    std::lock_guard lock(mutex_);
    for (auto c : pod.spec().containers())
      if (auto it = containers_.find(std::string(c.name())); it != containers_.end() && !it->second.id.empty()) init_done_ = true;
  }
  for (auto c : pod.spec().init_containers()) {
    ContainerRecord record;
    {
      std::lock_guard lock(mutex_);
      record = containers_[std::string(c.name())];
    }
    if (sidecar(c)) {
      if (!record.running() && !start(pod, c)) {
        if (!init_done_) return false;
        continue;
      }
      std::lock_guard lock(mutex_);
      auto& now = containers_[std::string(c.name())];
      if (!init_done_ && now.prober && !now.prober->started()) return false;
      continue;
    }
    if (init_done_ || (record.exited() && record.status.exit_code == 0)) continue;
    if (record.running()) return false;
    bool failed = record.exited() || record.failed_to_start;
    if (failed && policy == "Never") {
      terminal_ = true;
      (void)context_.runtime.stop_sandbox(sandbox_id());
      return false;
    }
    start(pod, c);
    return false;  // its end wakes us
  }
  init_done_ = true;
  return true;
}

bool PodWorker::should_start(const core::v1::Container& container, const ContainerRecord& record, std::string_view restart_policy) const {
  if (record.running()) return false;
  if (record.id.empty() && !record.failed_to_start) return true;
  std::string_view own = container.restart_policy();
  if (!own.empty()) restart_policy = own;
  if (restart_policy == "Always") return true;
  bool success = record.exited() && record.status.exit_code == 0;
  return restart_policy == "OnFailure" && !success;
}

void PodWorker::run_containers(const core::v1::Pod& pod) {
  std::string policy = restart_policy_of(pod);
  for (auto c : pod.spec().containers()) {
    ContainerRecord record;
    {
      std::lock_guard lock(mutex_);
      record = containers_[std::string(c.name())];
    }
    if (record.running()) {
      // After a restart of the kubelet the containers run, their probers do not.
      std::lock_guard lock(mutex_);
      ContainerRecord& now = containers_[std::string(c.name())];
      if (!now.prober && (c.has_liveness_probe() || c.has_readiness_probe() || c.has_startup_probe())) {
        record = now;
      } else {
        continue;
      }
    }
    if (record.running()) start_probes(c, record);
    else if (should_start(c, record, policy)) start(pod, c);
  }
  for (auto e : pod.spec().ephemeral_containers()) {
    core::v1::Container c(e.json());
    std::unique_lock lock(mutex_);
    ContainerRecord& record = containers_[std::string(c.name())];
    bool fresh = record.id.empty() && !record.failed_to_start;
    lock.unlock();
    if (fresh) start(pod, c);
  }
}

bool PodWorker::all_done(const core::v1::Pod& pod) const {
  std::string policy = restart_policy_of(pod);
  std::lock_guard lock(mutex_);
  for (auto c : pod.spec().containers()) {
    auto it = containers_.find(std::string(c.name()));
    if (it == containers_.end() || it->second.running() || should_start(c, it->second, policy)) return false;
  }
  return !pod.spec().containers().empty();
}

void PodWorker::publish(const core::v1::Pod& pod) {
  json::value status = StatusBuilder(*this, pod).build();
  last_status_ = status;
  context_.status.set(ns_, name_, uid_, std::move(status));
}

}  // namespace kcube::kubelet
