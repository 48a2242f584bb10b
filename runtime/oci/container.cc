#include "runtime/oci/container.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstring>

#include "pkg/base/file.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"

namespace kcube::runtime::oci {
namespace {

// A bundle brings its own root file system.
class NoImages final : public ImageStore {
 public:
  Result<Image> resolve(const std::string& reference) override {
    return fail(Status::not_found("no image " + reference));
  }
  Result<std::vector<Image>> list() override { return std::vector<Image>{}; }
  Result<std::vector<Image>> load(const std::string&, bool) override { return std::vector<Image>{}; }
  Result<std::vector<Image>> load_bytes(std::string_view, bool) override { return std::vector<Image>{}; }
  Result<void> save(const std::vector<std::string>&, const std::string&) override { return {}; }
  Result<Image> pull(const std::string& reference, const PullOptions&) override { return resolve(reference); }
  Result<void> tag(const std::string&, const std::string&) override { return {}; }
  Result<void> remove(const std::string&) override { return {}; }
  Result<std::vector<std::string>> lease_layers(const std::string&, const std::string&) override {
    return std::vector<std::string>{};
  }
  void unlease(const std::string&) override {}
};

// Everything that is started from here on inherits them.
Result<void> enter_namespaces(const Bundle& bundle) {
  for (const auto& path : bundle.join_paths) {
    auto fd = file::open(path, O_RDONLY);
    if (!fd) return fail(fd.error());
    if (::setns(fd->get(), 0) != 0) return fail(Status::from_errno("enter the namespace " + path));
  }
  if (bundle.new_namespaces != 0 && ::unshare(static_cast<int>(bundle.new_namespaces)) != 0)
    return fail(Status::from_errno("make namespaces"));
  if (bundle.new_namespaces & CLONE_NEWNET) {
    Fd s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (::ioctl(s.get(), SIOCSIFFLAGS, &request) != 0)
      return fail(Status::from_errno("bring up the loopback interface"));
  }
  if (!bundle.hostname.empty()) {
    if ((bundle.new_namespaces & CLONE_NEWUTS) == 0)
      return fail(Status::bad_request("config.json: hostname needs a new uts namespace"));
    if (::sethostname(bundle.hostname.data(), bundle.hostname.size()) != 0)
      return fail(Status::from_errno("set the host name"));
  }
  for (const auto& [name, value] : bundle.sysctls) {
    bool ours = name.starts_with("net.") ? (bundle.new_namespaces & CLONE_NEWNET) != 0 || !bundle.join_paths.empty()
                                         : (bundle.new_namespaces & (CLONE_NEWIPC | CLONE_NEWUTS)) != 0;
    if (!ours || name.find("..") != std::string::npos || name.find('/') != std::string::npos)
      return fail(
          Status::bad_request("config.json: linux.sysctl." + name + " is not in a namespace of the container's own"));
    if (auto r = file::write("/proc/sys/" + replace_all(name, ".", "/"), value); !r) return r;
  }
  return {};
}

}  // namespace

bool valid_id(const std::string& id) {
  return !id.empty() && id.size() <= 255 && id[0] != '.' && std::ranges::all_of(id, [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '+' || c == '-' || c == '.';
  });
}

std::string to_json(const State& state) {
  boost::json::object annotations;
  for (const auto& [key, value] : state.annotations) annotations[key] = value;
  return boost::json::serialize(boost::json::object{{"ociVersion", "1.0.2"},
                                                    {"id", state.id},
                                                    {"status", state.status},
                                                    {"pid", state.pid},
                                                    {"bundle", state.bundle},
                                                    {"annotations", std::move(annotations)}});
}

Result<void> OciContainer::open_runtime(bool own_stdio) {
  images_ = std::make_unique<NoImages>();
  RuntimeOptions options;
  options.state_dir = directory_ + "/state";
  options.data_dir = directory_ + "/data";
  options.images = images_.get();
  options.own_stdio = own_stdio;
  auto runtime = open_runtime_impl(options);
  if (!runtime) return fail(runtime.error());
  runtime_ = std::move(*runtime);
  return {};
}

Result<OciContainer> OciContainer::create(const std::string& root, const std::string& id, const Bundle& bundle) {
  if (!valid_id(id))
    return fail(Status::bad_request("container id \"" + id + "\" must be of letters, digits and _+-. only"));
  if (auto r = file::make_dirs(root, 0700); !r) return fail(r.error());
  OciContainer out;
  out.id_ = id;
  out.directory_ = root + "/" + id;
  out.bundle_ = bundle.directory;
  if (::mkdir(out.directory_.c_str(), 0700) != 0)
    return fail(errno == EEXIST ? Status::already_exists("container " + id + " exists")
                                : Status::from_errno("make " + out.directory_));
  if (auto r = out.fill(bundle); !r) {
    if (out.runtime_ && !out.sandbox_id_.empty()) (void)out.runtime_->remove_sandbox(out.sandbox_id_);
    (void)file::remove_tree(out.directory_);
    return fail(r.error());
  }
  return out;
}

Result<void> OciContainer::fill(const Bundle& bundle) {
  if (auto r = enter_namespaces(bundle); !r) return r;
  if (auto r = open_runtime(!bundle.record.spec.process.tty); !r) return r;
  SandboxConfig config;
  config.name = id_;
  config.network = config.ipc = config.pid = NamespaceMode::node;  // that is: ours, which we have just entered
  config.cgroup_parent = bundle.cgroup_parent.starts_with('/') ? bundle.cgroup_parent : "/kcube-oci/" + id_;
  auto sandbox = runtime_->run_sandbox(config);
  if (!sandbox) return fail(sandbox.error());
  sandbox_id_ = sandbox->id;
  ContainerRecord record = bundle.record;
  record.name = id_;
  record.spec.monitors_stdio = !record.spec.process.tty;
  auto container =
      runtime_->create_prepared(sandbox_id_, std::move(record), bundle.limits, bundle.devices, bundle.cgroup_mount);
  if (!container) return fail(container.error());
  container_id_ = *container;
  if (auto r = file::write(directory_ + "/bundle", bundle_); !r) return r;
  return run_hooks(bundle.create_hooks);
}

Result<OciContainer> OciContainer::open(const std::string& root, const std::string& id) {
  OciContainer out;
  out.id_ = id;
  out.directory_ = root + "/" + id;
  auto bundle = valid_id(id) ? file::read(out.directory_ + "/bundle") : fail(Status::not_found(""));
  if (!bundle) return fail(Status::not_found("container \"" + id + "\" does not exist"));
  out.bundle_ = *bundle;
  if (auto r = out.open_runtime(false); !r) return fail(r.error());
  if (auto sandboxes = out.runtime_->list_sandboxes(); sandboxes && !sandboxes->empty())
    out.sandbox_id_ = sandboxes->front().id;
  if (auto containers = out.runtime_->list_containers(""); containers && !containers->empty())
    out.container_id_ = containers->front().id;
  return out;
}

Result<State> OciContainer::state() {
  State out;
  out.id = id_;
  out.bundle = bundle_;
  out.status = "stopped";
  auto container = runtime_->container_status(container_id_);
  auto sandbox = runtime_->sandbox_status(sandbox_id_);
  if (!container || !sandbox) return out;
  out.annotations = container->annotations;
  out.exit_code = container->exit_code;
  if (sandbox->state != SandboxState::ready) return out;
  if (container->state == ContainerState::running) {
    out.status = "running";
    out.pid = container->pid;
  } else if (container->state == ContainerState::created) {
    out.status = "created";
    out.pid = sandbox->pause_pid;  // holds the namespaces meanwhile
  }
  return out;
}

Result<void> OciContainer::start() {
  auto now = state();
  if (!now) return fail(now.error());
  if (now->status != "created")
    return fail(Status(409, "Conflict", "container " + id_ + " is " + now->status + ", not created"));
  if (auto r = runtime_->start_container(container_id_); !r) return r;
  auto bundle = read_bundle(bundle_);
  return bundle ? run_hooks(bundle->poststart_hooks) : Result<void>{};
}

Result<void> OciContainer::kill(int signal) {
  auto now = state();
  if (!now) return fail(now.error());
  if (now->status == "stopped") return fail(Status(409, "Conflict", "container " + id_ + " is not running"));
  if (now->status == "created") return runtime_->stop_sandbox(sandbox_id_);
  return runtime_->signal_container(container_id_, signal);
}

Result<void> OciContainer::remove() {
  if (!sandbox_id_.empty())
    if (auto r = runtime_->remove_sandbox(sandbox_id_); !r) return r;
  if (auto bundle = read_bundle(bundle_)) (void)run_hooks(bundle->poststop_hooks);
  runtime_.reset();
  return file::remove_tree(directory_);
}

// On the host's side, with the state on standard input.
Result<void> OciContainer::run_hooks(const std::vector<Hook>& hooks) {
  if (hooks.empty()) return {};
  auto now = state();
  if (!now) return fail(now.error());
  std::string text = to_json(*now);
  for (const auto& hook : hooks) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Status::from_errno("make a pipe"));
    Fd read_end(ends[0]), write_end(ends[1]);
    process::SpawnOptions options;
    options.argv = hook.args;
    if (options.argv.empty()) options.argv.push_back(hook.path);
    options.argv[0] = hook.path;
    options.env = hook.env.empty() ? std::vector<std::string>{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"} : hook.env;
    options.stdin_fd = read_end.get();
    if (::write(write_end.get(), text.data(), text.size()) < 0)
      return fail(Status::from_errno("tell the hook the state"));
    write_end.reset();
    auto child = process::spawn(options);
    if (!child) return fail(child.error().with_context("hook " + hook.path));
    bool ended =
        process::wait_exit(child->pidfd, std::chrono::seconds(hook.timeout_seconds > 0 ? hook.timeout_seconds : 600));
    if (!ended) (void)process::send_signal(child->pidfd, SIGKILL);
    int status = 0;
    if (::waitpid(child->pid, &status, 0) < 0 || !ended || status != 0)
      return fail(Status::internal("hook " + hook.path + " failed"));
  }
  return {};
}

}  // namespace kcube::runtime::oci
