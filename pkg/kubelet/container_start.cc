// Starting one container: back-off, image, configuration, creation, start, hooks, probes.
#include <sys/stat.h>

#include <algorithm>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/kubelet/pod_status.h"
#include "pkg/kubelet/pod_worker.h"
#include "pkg/kubelet/resources.h"

namespace kcube::kubelet {
namespace {

// Source: the pod lifecycle docs: 10 s doubling to 5 min, forgotten after 10 min of running.
constexpr Duration kFirstBackOff = std::chrono::seconds(10);
constexpr Duration kLastBackOff = std::chrono::minutes(5);
constexpr Duration kForgetAfter = std::chrono::minutes(10);
constexpr Duration kConfigRetry = std::chrono::seconds(2);

std::string seconds_text(Duration d) {
  auto s = std::chrono::duration_cast<std::chrono::seconds>(d).count();
  return s >= 60 ? std::to_string(s / 60) + "m" + std::to_string(s % 60) + "s" : std::to_string(s) + "s";
}

std::map<std::string, std::string> as_map(const std::vector<std::string>& env) {
  std::map<std::string, std::string> out;
  for (const std::string& e : env) {
    size_t eq = e.find('=');
    out[e.substr(0, eq)] = eq == std::string::npos ? "" : e.substr(eq + 1);
  }
  return out;
}

// The container's own security context over the pod's.
runtime::SecurityConfig security_of(const core::v1::Pod& pod, const core::v1::Container& container) {
  runtime::SecurityConfig out;
  auto pod_context = pod.spec().security_context();
  auto context = container.security_context();
  out.privileged = context.privileged();
  for (std::string_view c : context.capabilities().add()) out.add_capabilities.emplace_back(c);
  for (std::string_view c : context.capabilities().drop()) out.drop_capabilities.emplace_back(c);
  if (context.has_run_as_user()) out.run_as_user = context.run_as_user();
  else if (pod_context.has_run_as_user()) out.run_as_user = pod_context.run_as_user();
  if (context.has_run_as_group()) out.run_as_group = context.run_as_group();
  else if (pod_context.has_run_as_group()) out.run_as_group = pod_context.run_as_group();
  for (const json::value& g : pod_context.supplemental_groups()) out.supplemental_groups.push_back(json::get_int(&g));
  if (pod_context.has_fs_group()) out.supplemental_groups.push_back(pod_context.fs_group());
  out.supplemental_groups_strict = pod_context.supplemental_groups_policy() == "Strict";
  out.readonly_rootfs = context.read_only_root_filesystem();
  out.no_new_privileges = context.has_allow_privilege_escalation() && !context.allow_privilege_escalation();
  out.unmasked_proc = context.proc_mount() == "Unmasked";
  auto profile = context.seccomp_profile() ? context.seccomp_profile() : pod_context.seccomp_profile();
  if (profile.type() == "Unconfined") out.seccomp = runtime::SeccompProfile::unconfined;
  if (profile.type() == "Localhost") {
    out.seccomp = runtime::SeccompProfile::localhost;
    out.seccomp_path = profile.localhost_profile();
  }
  return out;
}

// runAsNonRoot: refused when the user is or may be root.
Result<void> check_non_root(const core::v1::Pod& pod, const core::v1::Container& container, const runtime::Image& image, const runtime::SecurityConfig& security) {
  auto context = container.security_context();
  bool wanted = context.has_run_as_non_root() ? context.run_as_non_root() : pod.spec().security_context().run_as_non_root();
  if (!wanted) return {};
  auto refuse = [](std::string message) { return fail(Status(500, "CreateContainerConfigError", std::move(message))); };
  std::string where = " (pod: \"" + std::string(pod.metadata().name()) + "_" + std::string(pod.metadata().namespace_()) + "(" + std::string(pod.metadata().uid()) +
                      ")\", container: " + std::string(container.name()) + ")";
  if (security.run_as_user) {
    if (*security.run_as_user == 0) return refuse("container's runAsUser breaks non-root policy" + where);
    return {};
  }
  std::string user = image.config.user.substr(0, image.config.user.find(':'));
  if (user.empty() || user == "0" || user == "root") return refuse("container has runAsNonRoot and image will run as root" + where);
  if (!parse_int<int64_t>(user)) return refuse("container has runAsNonRoot and image has non-numeric user (" + user + "), cannot verify user is non-root" + where);
  return {};
}

// /etc/hosts of the pod's containers, as the kubelet manages it.
std::string hosts_file(const core::v1::Pod& pod, const std::vector<std::string>& ips, const Options& options) {
  if (pod.spec().host_network()) return file::read("/etc/hosts").value_or("127.0.0.1\tlocalhost\n");
  std::string out =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
      "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
  std::string hostname(pod.spec().hostname().empty() ? pod.metadata().name() : pod.spec().hostname());
  for (const std::string& ip : ips) {
    out += ip + "\t";
    if (!pod.spec().subdomain().empty())
      out += hostname + "." + std::string(pod.spec().subdomain()) + "." + std::string(pod.metadata().namespace_()) + ".svc." + options.cluster_domain + "\t";
    out += hostname + "\n";
  }
  if (!pod.spec().host_aliases().empty()) out += "\n# Entries added by HostAliases.\n";
  for (auto alias : pod.spec().host_aliases()) {
    out += std::string(alias.ip());
    for (std::string_view name : alias.hostnames()) out += "\t" + std::string(name);
    out += "\n";
  }
  return out;
}

}  // namespace

EnvironmentSources Context::sources(const core::v1::Pod& pod) {
  EnvironmentSources s;
  std::string ns(pod.metadata().namespace_()), uid(pod.metadata().uid());
  s.config_map = [this, ns, uid](std::string_view name) { return objects.get(client::resources::kConfigMaps, ns, name, uid); };
  s.secret = [this, ns, uid](std::string_view name) { return objects.get(client::resources::kSecrets, ns, name, uid); };
  if (services != nullptr) {
    s.services = services->list(ns);
    if (auto master = services->get("default", "kubernetes"); master && ns != "default") s.services.push_back(master);
  }
  s.host_ip = options.node_ip;
  s.node_name = options.node_name;
  s.node_cpu_millis = cpu_millis;
  s.node_memory_bytes = memory_bytes;
  return s;
}

// True when the container runs afterwards.
bool PodWorker::start(const core::v1::Pod& pod, const core::v1::Container& container) {
  std::string name(container.name());
  ContainerRecord record;
  {
    std::lock_guard lock(mutex_);
    record = containers_[name];
  }
  SteadyTime now = context_.clock.steady_now();
  // How long the attempt before ran decides whether its failures are forgotten.
  if (record.exited() && record.next_start == SteadyTime{}) {
    const bool ran = record.status.started_at != SystemTime{};
    const bool long_run = ran && record.status.finished_at - record.status.started_at > kForgetAfter;
    Duration wait = record.back_off == Duration::zero() || long_run ? Duration::zero() : record.back_off;
    auto since_end = context_.clock.now() - record.status.finished_at;
    if (long_run) record.back_off = {};
    // The first restart is at once; each later one waits longer.
    record.next_start = now + std::max(Duration::zero(), wait - std::chrono::duration_cast<Duration>(since_end));
  }
  if (record.next_start > now) {
    record.waiting_reason = "CrashLoopBackOff";
    record.waiting_message = "back-off " + seconds_text(record.back_off) + " restarting failed container=" + name + " pod=" + name_ + "_" + ns_ + "(" + uid_ + ")";
    event("Warning", "BackOff", "Back-off restarting failed container " + name + " in pod " + name_ + "_" + ns_ + "(" + uid_ + ")", name);
    wake_after(record.next_start - now);
    std::lock_guard lock(mutex_);
    containers_[name] = record;
    return false;
  }

  EnvironmentSources env_sources = sources(pod);
  auto image = context_.image_manager.ensure(pod, container.image(), container.image_pull_policy(), env_sources, [&] {
    event("Normal", "Pulling", "Pulling image \"" + std::string(container.image()) + "\"", name);
  });
  if (!image) {
    no_image(container.image(), image.error(), name);
    fail_start(pod, container, record, image.error());
    return false;
  }
  if (image->pulled)
    event("Normal", "Pulled", "Successfully pulled image \"" + std::string(container.image()) + "\" in " +
          std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(image->took).count()) + "ms", name);
  else
    event("Normal", "Pulled", "Container image \"" + std::string(container.image()) + "\" already present on machine", name);

  auto volume_images = ensure_volume_images(pod, container, env_sources);
  if (!volume_images) {
    fail_start(pod, container, record, volume_images.error());
    return false;
  }

  // A new attempt: what ran before becomes the last state.
  if (!record.id.empty()) {
    record.last_terminated = terminated_state(record.status);
    (void)context_.runtime.remove_container(record.id);
    record.back_off = record.back_off == Duration::zero() ? kFirstBackOff : std::min(kLastBackOff, record.back_off * 2);
    ++record.restarts;
    record.id.clear();
    record.status = {};
  }
  record.next_start = {};
  record.image_id = image->image.id;
  auto config = configure(pod, container, image->image, *volume_images, record);
  if (!config) {
    event("Warning", "Failed", "Error: " + config.error().message(), name);
    fail_start(pod, container, record, {500, "CreateContainerConfigError", config.error().message()});
    return false;
  }
  auto id = context_.runtime.create_container(sandbox_id(), *config);
  if (!id) {
    event("Warning", "Failed", "Error: " + id.error().message(), name);
    fail_start(pod, container, record, {500, "CreateContainerError", id.error().message()});
    return false;
  }
  event("Normal", "Created", "Created container: " + name, name);
  auto started = context_.runtime.start_container(*id);
  record.id = *id;
  {
    std::lock_guard lock(mutex_);
    resources_.applied(name);
  }
  record.waiting_reason.clear();
  record.waiting_message.clear();
  record.failed_to_start = false;
  if (auto status = context_.runtime.container_status(*id)) record.status = *status;
  if (!started) {
    event("Warning", "Failed", "Error: " + started.error().message(), name);
    record.waiting_reason = "RunContainerError";
    record.waiting_message = started.error().message();
    if (record.status.state != runtime::ContainerState::exited) {
      record.status.state = runtime::ContainerState::exited;
      record.status.exit_code = 128;
      record.status.reason = "StartError";
      record.status.message = started.error().message();
      record.status.started_at = SystemTime{};
      record.status.finished_at = context_.clock.now();
    }
    {
      std::lock_guard lock(mutex_);
      containers_[name] = record;
    }
    wake_after(std::chrono::milliseconds(1));
    return false;
  }
  event("Normal", "Started", "Started container " + name, name);
  {
    std::lock_guard lock(mutex_);
    containers_[name] = record;
  }
  if (auto hook = container.lifecycle().post_start()) {
    if (auto r = run_handler(hook, container, target(record.id)); !r) {
      event("Warning", "FailedPostStartHook", "PostStartHook failed", name);
      (void)context_.runtime.stop_container(record.id, std::chrono::seconds(pod.spec().termination_grace_period_seconds(30)));
      wake_after(std::chrono::milliseconds(1));
      return false;
    }
  }
  start_probes(container, record);
  return true;
}

// Two events: what went wrong, and the reason that `kubectl get` shows.
void PodWorker::no_image(std::string_view image, const Status& status, const std::string& container) {
  std::string name = "\"" + std::string(image) + "\"", reason = status.reason();
  if (reason == "ImagePullBackOff") event("Normal", "BackOff", "Back-off pulling image " + name, container);
  else if (reason == "ErrImageNeverPull") event("Warning", reason, status.message(), container);
  else if (reason == "InvalidImageName") event("Warning", "InspectFailed", status.message(), container);
  else event("Warning", "Failed", "Failed to pull image " + name + ": " + status.message(), container);
  event("Warning", "Failed", "Error: " + reason, container);
}

// The images behind the image volumes that the container mounts: volume name -> image id.
Result<std::map<std::string, std::string>> PodWorker::ensure_volume_images(const core::v1::Pod& pod, const core::v1::Container& container, const EnvironmentSources& sources) {
  std::map<std::string, std::string> out;
  for (auto volume : pod.spec().volumes()) {
    auto source = volume.image();
    bool mounted = false;
    for (auto m : container.volume_mounts()) mounted = mounted || m.name() == volume.name();
    if (!source || !mounted) continue;
    std::string reference(source.reference());
    auto image = context_.image_manager.ensure(pod, reference, source.pull_policy(), sources, [&] {
      event("Normal", "Pulling", "Pulling image \"" + reference + "\"", container.name());
    });
    if (!image) {
      no_image(reference, image.error(), std::string(container.name()));
      return fail(image.error());
    }
    if (image->pulled) event("Normal", "Pulled", "Successfully pulled image \"" + reference + "\"", container.name());
    out[std::string(volume.name())] = image->image.id;
  }
  return out;
}

void PodWorker::fail_start(const core::v1::Pod& pod, const core::v1::Container& container, ContainerRecord& record, const Status& status) {
  (void)pod;
  record.waiting_reason = status.reason();
  record.waiting_message = status.message();
  {
    std::lock_guard lock(mutex_);
    containers_[std::string(container.name())] = record;
  }
  wake_after(status.reason() == "ErrImagePull" || status.reason() == "ImagePullBackOff" ? std::chrono::seconds(10) : kConfigRetry);
}

Result<runtime::ContainerConfig> PodWorker::configure(const core::v1::Pod& pod, const core::v1::Container& container, const runtime::Image& image,
                                                      const std::map<std::string, std::string>& volume_images, ContainerRecord& record) {
  EnvironmentSources env_sources = sources(pod);
  runtime::ContainerConfig config;
  config.name = container.name();
  config.attempt = static_cast<uint32_t>(record.restarts);
  config.image_id = image.id;
  config.image_name = container.image();
  auto env = make_environment(pod, container, env_sources);
  if (!env) return fail(env.error());
  config.env = std::move(*env);
  auto values = as_map(config.env);
  for (std::string_view word : container.command()) config.command.push_back(expand(word, values));
  for (std::string_view word : container.args()) config.args.push_back(expand(word, values));
  config.working_dir = container.working_dir();
  config.stdin = container.stdin();
  config.stdin_once = container.stdin_once();
  config.tty = container.tty();
  config.security = security_of(pod, container);
  if (auto r = check_non_root(pod, container, image, config.security); !r) return fail(r.error());
  config.resources = container_limits(pod, container, context_.memory_bytes);
  config.labels = {{"io.kubernetes.pod.name", name_}, {"io.kubernetes.pod.namespace", ns_}, {"io.kubernetes.pod.uid", uid_},
                   {"io.kubernetes.container.name", config.name}};
  config.log_path = config.name + "/" + std::to_string(config.attempt) + ".log";
  if (record.restarts > 1)  // one former log is kept, for `logs --previous`
    (void)file::remove(context_.options.log_dir + "/" + ns_ + "_" + name_ + "_" + uid_ + "/" + config.name + "/" + std::to_string(record.restarts - 2) + ".log");
  if (auto t = core::v1::EphemeralContainer(container.json()).target_container_name(); !t.empty()) config.target_container_id = container_id(t);

  auto mounts = context_.volumes.mounts(pod, container, volume_paths_, volume_images, values);
  if (!mounts) return fail(mounts.error());
  config.mounts = std::move(*mounts);
  std::string dir = context_.volumes.pod_dir(uid_);
  auto has_mount = [&](std::string_view path) { return std::ranges::any_of(config.mounts, [&](const runtime::Mount& m) { return m.container_path == path; }); };
  if (auto r = file::make_dirs(dir + "/containers/" + config.name); !r) return fail(r.error());
  if (!has_mount("/etc/hosts")) {
    if (auto r = file::write(dir + "/etc-hosts", hosts_file(pod, env_sources.pod_ips, context_.options)); !r) return fail(r.error());
    config.mounts.push_back({.container_path = "/etc/hosts", .host_path = dir + "/etc-hosts"});
  }
  std::string message_path(container.termination_message_path());
  if (!message_path.empty()) {
    std::string message_file = dir + "/containers/" + config.name + "/" + std::to_string(config.attempt);
    if (auto r = file::write(message_file, "", 0666); !r) return fail(r.error());
    // Whoever the container runs as writes there; the umask took that away.
    if (::chmod(message_file.c_str(), 0666) != 0) return fail(Status::from_errno("chmod " + message_file));
    config.mounts.push_back({.container_path = message_path, .host_path = message_file});
    config.annotations["io.kubernetes.container.terminationMessageFile"] = message_file;
    config.annotations["io.kubernetes.container.terminationMessagePolicy"] = std::string(container.termination_message_policy());
  }
  return config;
}

void PodWorker::start_probes(const core::v1::Container& container, ContainerRecord& record) {
  if (!container.has_liveness_probe() && !container.has_readiness_probe() && !container.has_startup_probe()) return;
  std::weak_ptr<PodWorker> weak = weak_from_this();
  std::string name(container.name()), id = record.id;
  auto prober = ContainerProber::start(*container.json(), target(id), context_.clock, context_.probes,
      {.verdict =
           [weak, name, id](ProbeKind kind, bool success, const std::string&) {
             auto self = weak.lock();
             if (!self) return;
             if (!success && kind != ProbeKind::readiness) self->restart_unhealthy(name, id, kind);
             self->wake();
           },
       .failed =
           [weak, name](ProbeKind kind, const std::string& output) {
             auto self = weak.lock();
             if (!self) return;
             const char* which = kind == ProbeKind::liveness ? "Liveness" : kind == ProbeKind::readiness ? "Readiness" : "Startup";
             self->event("Warning", "Unhealthy", std::string(which) + " probe failed: " + output, name);
           }});
  std::lock_guard lock(mutex_);
  if (abandoned_ || terminating_) prober->stop();
  record.prober = prober;
  containers_[name].prober = std::move(prober);
}

void PodWorker::restart_unhealthy(const std::string& name, const std::string& id, ProbeKind kind) {
  api::ObjectPtr object = pod();
  core::v1::Pod view(object->value());
  core::v1::Container container;
  for (auto list : {view.spec().containers(), view.spec().init_containers()})
    for (auto c : list)
      if (c.name() == name) container = c;
  auto probe = kind == ProbeKind::liveness ? container.liveness_probe() : container.startup_probe();
  event("Normal", "Killing", "Container " + name + " failed " + (kind == ProbeKind::liveness ? "liveness" : "startup") + " probe, will be restarted", name);
  int64_t grace = probe.has_termination_grace_period_seconds() ? probe.termination_grace_period_seconds() : view.spec().termination_grace_period_seconds(30);
  context_.workers.submit([self = shared_from_this(), object, container, id, grace] {
    self->stop_one(core::v1::Pod(object->value()), container, id, std::chrono::seconds(grace));
    self->wake();
  });
}

}  // namespace kcube::kubelet
