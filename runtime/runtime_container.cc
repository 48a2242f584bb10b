// Containers: created in kcube, run by the monitor.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "runtime/container_spec.h"
#include "runtime/root_fs.h"
#include "runtime/runtime_impl.h"

namespace kcube::runtime {
namespace {

constexpr auto kKillPatience = std::chrono::seconds(30);

Status create_error(const Status& status) { return Status(status.code(), "CreateContainerError", status.message()); }

// Pause holds the sandbox's user namespace.
Result<IdMap> id_map(const SandboxRecord& sandbox) {
  if (sandbox.user_namespace_start == 0) return IdMap{};
  auto fd = file::open("/proc/" + std::to_string(sandbox.pause_pid) + "/ns/user", O_RDONLY);
  if (!fd) return fail(fd.error().with_context("the pod's user namespace"));
  return IdMap{std::move(*fd), sandbox.user_namespace_start};
}

}  // namespace

Result<std::string> RuntimeImpl::create_container(const std::string& sandbox_id, const ContainerConfig& config) {
  auto sandbox = find_sandbox(sandbox_id);
  if (!sandbox) return fail(sandbox.error());
  std::lock_guard ops((*sandbox)->ops);
  {
    std::lock_guard lock(mutex_);
    if (!(*sandbox)->ready) return fail(create_error(Status::unavailable("sandbox " + sandbox_id + " is not ready")));
  }
  auto container = std::make_shared<Container>();
  container->record.id = to_hex(random_bytes(32));
  container->record.created_at_ns = to_ns(std::chrono::system_clock::now());
  if (auto r = prepare(*sandbox, *container, config); !r) {
    if (auto removed = discard(*container); !removed)
      log::warn("runtime", "a container that failed leaves traces", {{"error", removed.error()}});
    return fail(create_error(r.error()));
  }
  {
    std::lock_guard lock(mutex_);
    (*sandbox)->containers[container->record.id] = container;
    sandbox_of_[container->record.id] = sandbox_id;
  }
  emit(Event::Type::container_created, (*sandbox)->record, container->record.id);
  return container->record.id;
}

Result<void> RuntimeImpl::prepare(const SandboxPtr& sandbox, Container& container, const ContainerConfig& config) {
  ContainerRecord& record = container.record;
  record.sandbox_id = sandbox->record.id;
  record.cgroup = sandbox->record.cgroup_parent + "/" + record.id;
  auto image = options_.images->resolve(config.image_id);
  if (!image) return fail(image.error().with_context("image " + config.image_id));
  auto layers = options_.images->lease_layers(image->id, record.id);
  if (!layers) return fail(layers.error().with_context("image " + config.image_id));
  record.layers = std::move(*layers);
  auto ids = id_map(sandbox->record);
  if (!ids) return fail(ids.error());
  auto root = mount_root(record.layers, root_dir(record.id), *ids);
  if (!root) return fail(root.error());
  container.root = std::move(*root);

  if (::mkdir(container_dir(container).c_str(), 0700) != 0)
    return fail(Status::from_errno("make " + container_dir(container)));
  if (auto r = cgroups_.create(record.cgroup); !r) return r;
  if (auto r = cgroups_.apply(record.cgroup, config.resources); !r) return r;
  auto rules = device_rules(config);
  if (!rules) return fail(rules.error());
  if (auto r = cgroups_.restrict_devices(record.cgroup, *rules); !r) return r;
  SpecInputs inputs{sandbox->record, config,   image->config,          container.root,
                    cgroups_,        options_, dir(sandbox->record.id)};
  if (auto r = fill_spec(inputs, record); !r) return r;
  if (!record.log_path.empty())
    if (auto r = file::make_dirs(record.log_path.substr(0, record.log_path.rfind('/'))); !r) return r;
  return write_record(container_dir(container) + "/record", record);
}

Result<std::string> RuntimeImpl::create_prepared(const std::string& sandbox_id, ContainerRecord record,
                                                 const ResourceLimits& limits, const std::vector<DeviceRule>& rules,
                                                 int cgroup_mount) {
  auto sandbox = find_sandbox(sandbox_id);
  if (!sandbox) return fail(sandbox.error());
  std::lock_guard ops((*sandbox)->ops);
  auto container = std::make_shared<Container>();
  container->record = std::move(record);
  ContainerRecord& r = container->record;
  r.id = r.spec.id = to_hex(random_bytes(32));
  r.sandbox_id = sandbox_id;
  r.created_at_ns = to_ns(std::chrono::system_clock::now());
  r.cgroup = (*sandbox)->record.cgroup_parent + "/" + r.id;
  r.spec.state_dir = container_dir(*container);
  r.spec.root_mountpoint = dir(sandbox_id) + "/root";
  if (cgroup_mount >= 0) mount_cgroups(r, static_cast<size_t>(cgroup_mount));
  auto make = [&]() -> Result<void> {
    if (::mkdir(r.spec.state_dir.c_str(), 0700) != 0) return fail(Status::from_errno("make " + r.spec.state_dir));
    if (auto made = cgroups_.create(r.cgroup); !made) return made;
    if (auto applied = cgroups_.apply(r.cgroup, limits); !applied) return applied;
    if (auto restricted = cgroups_.restrict_devices(r.cgroup, rules); !restricted) return restricted;
    return write_record(r.spec.state_dir + "/record", r);
  };
  if (auto made = make(); !made) {
    (void)discard(*container);
    return fail(made.error());
  }
  std::lock_guard lock(mutex_);
  (*sandbox)->containers[r.id] = container;
  sandbox_of_[r.id] = sandbox_id;
  return r.id;
}

// Replaces a "cgroup" mount by the container's own groups, bound one by one.
void RuntimeImpl::mount_cgroups(ContainerRecord& record, size_t at) const {
  auto& mounts = record.spec.mounts;
  protocol::MountStep wanted = mounts[at];
  wanted.kind = protocol::MountStep::Kind::bind;
  wanted.options.clear();
  mounts.erase(mounts.begin() + static_cast<long>(at));
  if (!cgroups_.unified()) {
    protocol::MountStep base = wanted;
    base.kind = protocol::MountStep::Kind::filesystem;
    base.source = "tmpfs";
    base.options = "mode=755,size=64k";
    base.attributes &= ~uint64_t{MOUNT_ATTR_RDONLY};
    mounts.insert(mounts.begin() + static_cast<long>(at++), base);
  }
  for (const auto& [name, directory] : cgroups_.directories(record.cgroup)) {
    protocol::MountStep step = wanted;
    step.source = directory;
    if (!name.empty()) step.target += "/" + name;
    mounts.insert(mounts.begin() + static_cast<long>(at++), step);
  }
}

Result<protocol::Process> RuntimeImpl::container_process(const std::string& id) {
  auto found = find_container(id);
  if (!found) return fail(found.error());
  return found->container->record.spec.process;
}

Result<void> RuntimeImpl::signal_container(const std::string& id, int number) {
  auto found = find_container(id);
  if (!found) return fail(found.error());
  if (!found->monitor) return fail(Status(409, "Conflict", "the container is not running"));
  auto reply = found->monitor->call<protocol::Reply>(protocol::Type::signal, protocol::Signal{id, number});
  return reply ? Result<void>{} : Result<void>(fail(reply.error()));
}

Result<void> RuntimeImpl::start_container(const std::string& id) {
  auto first = find_container(id);
  if (!first) return fail(first.error());
  std::lock_guard ops(first->sandbox->ops);
  auto found = find_container(id);
  if (!found) return fail(found.error());
  {
    std::lock_guard lock(mutex_);
    if (found->container->state != ContainerState::created)
      return fail(Status(409, "Conflict", "container " + id + " was started before"));
    if (!found->monitor || !found->sandbox->ready) return fail(Status(500, "StartError", "the sandbox is not ready"));
  }
  auto started = start_locked(*found);
  if (started) {
    emit(Event::Type::container_started, found->sandbox->record, id);
    return {};
  }
  Container& container = *found->container;
  {
    std::lock_guard lock(mutex_);
    container.state = ContainerState::exited;
    container.exit.code = 128;
    container.exit.finished_at_ns = to_ns(std::chrono::system_clock::now());
    container.reason = "StartError";
    container.message = container.record.start_error = started.error().message();
  }
  container.root.reset();
  (void)write_record(container_dir(container) + "/record", container.record);
  changed_.notify_all();
  return fail(Status(500, "StartError", started.error().message()));
}

Result<void> RuntimeImpl::start_locked(const Found& found) {
  Container& container = *found.container;
  protocol::StartContainer request = container.record.spec;
  std::vector<Fd> fds;
  auto entry = cgroups_.entry(container.record.cgroup, fds);
  if (!entry) return fail(entry.error());
  request.cgroup = *entry;
  auto add = [&](Fd fd) {
    fds.push_back(std::move(fd));
    return static_cast<int32_t>(fds.size()) - 1;
  };
  auto ids = id_map(found.sandbox->record);
  if (!ids) return fail(ids.error());
  // Created by a kcube that is no more: its mount went with it.
  if (!container.root.valid()) {
    const ContainerRecord& record = container.record;
    auto root = record.root_directory.empty() ? mount_root(record.layers, root_dir(record.id), *ids)
                                              : mount_directory(record.root_directory);
    if (!root) return fail(root.error());
    container.root = std::move(*root);
  }
  request.root = add(std::move(container.root));
  for (const auto& volume : container.record.volumes) {
    auto mount = mount_image(volume.layers, volume.sub_path, *ids);
    if (!mount) return fail(mount.error());
    if (volume.mount < request.mounts.size()) request.mounts[volume.mount].fd = add(std::move(*mount));
  }
  std::vector<int> numbers;
  for (const auto& fd : fds) numbers.push_back(fd.get());
  auto reply = found.monitor->call<protocol::Started>(protocol::Type::start_container, request, numbers);
  if (!reply) return fail(reply.error());
  if (!reply->error.empty()) return fail(Status::internal(reply->error));
  if (!reply->warning.empty())
    log::debug("runtime", "container starts with less than asked for",
               {{"container", container.record.id}, {"warning", reply->warning}});
  {
    std::lock_guard lock(mutex_);
    container.pid = reply->pid;
    container.started_at_ns = reply->started_at_ns;
    // Its end may have been heard before this.
    if (container.state == ContainerState::created) container.state = ContainerState::running;
  }
  return {};
}

bool RuntimeImpl::wait_end(const Container& container, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience,
                           [&] { return container.state != ContainerState::running || container.removed; });
}

Result<void> RuntimeImpl::stop_container(const std::string& id, std::chrono::milliseconds grace) {
  auto found = find_container(id);
  if (!found) return {};
  Container& container = *found->container;
  {
    std::lock_guard lock(mutex_);
    if (container.state != ContainerState::running || !found->monitor) return {};
  }
  auto signal = [&](int number) {
    return found->monitor->call<protocol::Reply>(protocol::Type::signal, protocol::Signal{id, number});
  };
  if (grace > std::chrono::milliseconds(0)) {
    (void)signal(container.record.stop_signal);
    if (wait_end(container, grace)) return {};
  }
  (void)signal(SIGKILL);
  if (wait_end(container, kKillPatience)) return {};
  return fail(Status::timeout("container " + id + " does not end: the kernel holds one of its processes"));
}

Result<void> RuntimeImpl::remove_container(const std::string& id) {
  auto first = find_container(id);
  if (!first) return {};
  if (auto r = stop_container(id, std::chrono::milliseconds(0)); !r) return r;
  std::lock_guard ops(first->sandbox->ops);
  auto found = find_container(id);
  return found ? remove_locked(*found) : Result<void>{};
}

Result<void> RuntimeImpl::remove_locked(const Found& found) {
  Container& container = *found.container;
  const std::string id = container.record.id;
  if (auto r = discard(container); !r) return r;
  if (found.monitor) (void)found.monitor->call<protocol::Reply>(protocol::Type::forget, protocol::Target{id});
  {
    std::lock_guard lock(mutex_);
    container.removed = true;
    found.sandbox->containers.erase(id);
    sandbox_of_.erase(id);
  }
  changed_.notify_all();
  emit(Event::Type::container_removed, found.sandbox->record, id);
  return {};
}

// What the container has outside of this process; nothing of it runs any more.
Result<void> RuntimeImpl::discard(Container& container) {
  const ContainerRecord& record = container.record;
  container.root.reset();
  if (!record.cgroup.empty())
    if (auto r = cgroups_.remove(record.cgroup); !r) return r;
  if (auto r = remove_root(root_dir(record.id)); !r) return r;
  for (size_t i = 0; i < record.volumes.size(); ++i) options_.images->unlease(volume_lease(record.id, i));
  options_.images->unlease(record.id);
  return file::remove_tree(container_dir(container));
}

ContainerStatus RuntimeImpl::status_of(const Container& container) const {
  const ContainerRecord& r = container.record;
  ContainerStatus out;
  out.id = r.id;
  out.sandbox_id = r.sandbox_id;
  out.name = r.name;
  out.attempt = r.attempt;
  out.state = container.state;
  out.created_at = from_ns(r.created_at_ns);
  out.started_at = from_ns(container.started_at_ns);
  out.finished_at = from_ns(container.exit.finished_at_ns);
  out.exit_code = container.exit.code;
  out.reason = container.reason;
  out.message = container.message;
  out.image_id = r.image_id;
  out.image_name = r.image_name;
  out.log_path = r.log_path;
  out.pid = container.state == ContainerState::running ? container.pid : 0;
  out.uid = r.spec.process.uid;
  out.labels = to_labels(r.labels);
  out.annotations = to_labels(r.annotations);
  return out;
}

Result<std::vector<ContainerStatus>> RuntimeImpl::list_containers(const std::string& sandbox_id) {
  std::lock_guard lock(mutex_);
  std::vector<ContainerStatus> out;
  for (const auto& [id, sandbox] : sandboxes_)
    if (sandbox_id.empty() || id == sandbox_id)
      for (const auto& [name, container] : sandbox->containers) out.push_back(status_of(*container));
  return out;
}

Result<ContainerStatus> RuntimeImpl::container_status(const std::string& id) {
  auto found = find_container(id);
  if (!found) return fail(found.error());
  std::lock_guard lock(mutex_);
  return status_of(*found->container);
}

Result<void> RuntimeImpl::update_resources(const std::string& id, const ResourceLimits& limits) {
  auto found = find_container(id);
  if (!found) return fail(found.error());
  std::lock_guard ops(found->sandbox->ops);
  return cgroups_.apply(found->container->record.cgroup, limits);
}

Result<ContainerStats> RuntimeImpl::container_stats(const std::string& id) {
  auto found = find_container(id);
  if (!found) return fail(found.error());
  auto stats = cgroups_.stats(found->container->record.cgroup);
  if (stats) stats->id = id;
  return stats;
}

}  // namespace kcube::runtime
