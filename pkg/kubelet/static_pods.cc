#include "pkg/kubelet/static_pods.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <thread>

#include "pkg/api/schema.h"
#include "pkg/api/yaml.h"
#include "pkg/base/clock.h"
#include "pkg/base/executor.h"
#include "pkg/base/fd.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::kubelet {
namespace {

json::value str(std::string_view s) { return json::value(json::key(s)); }

// 32 hex digits, as the uids of static pods are.
std::string hash_of(const std::string& text) {
  char out[33];
  std::snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(stable_hash(text)), static_cast<unsigned long long>(stable_hash(text + "#")));
  return out;
}

Result<api::ObjectPtr> read_pod(const std::string& path, const std::string& node_name) {
  auto text = file::read(path, 3 << 20);
  if (!text) return fail(text.error());
  auto documents = api::parse_documents(*text);
  if (!documents) return fail(documents.error());
  if (documents->size() != 1 || json::get_string(documents->front(), {"kind"}) != "Pod")
    return fail(Status::bad_request("a static pod manifest holds exactly one Pod"));
  json::value pod = std::move(documents->front());
  json::object& metadata = json::ensure_path(pod, {"metadata"});
  std::string hash = hash_of(path + *text + node_name);
  if (json::get_string(metadata.if_contains("namespace")).empty()) metadata["namespace"] = "default";
  metadata["name"] = str(std::string(json::get_string(metadata.if_contains("name"))) + "-" + node_name);
  metadata["uid"] = str(hash);
  json::object& annotations = json::ensure_object(metadata, "annotations");
  annotations["kubernetes.io/config.source"] = "file";
  annotations["kubernetes.io/config.hash"] = str(hash);
  annotations["kubernetes.io/config.seen"] = str(format_nano_time(RealClock::instance().now()));
  json::object& spec = json::ensure_path(pod, {"spec"});
  spec["nodeName"] = str(node_name);
  if (!spec.contains("restartPolicy")) spec["restartPolicy"] = "Always";
  // It runs before and without any controller's view of the node.
  spec["tolerations"] = json::array{json::object{{"operator", "Exists"}, {"effect", "NoExecute"}}};
  spec["automountServiceAccountToken"] = false;
  return api::Object::from_value(std::move(pod));
}

class Watcher final : public StaticPods {
 public:
  Watcher(std::string directory, std::string node_name, std::function<void(std::vector<api::ObjectPtr>)> changed)
      : directory_(std::move(directory)), node_name_(std::move(node_name)), changed_(std::move(changed)) {}
  ~Watcher() override {
    uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(stop_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
  }

  Result<void> begin() {
    notify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    stop_.reset(::eventfd(0, EFD_CLOEXEC));
    if (!notify_ || !stop_) return fail(Status::from_errno("watch " + directory_));
    if (::inotify_add_watch(notify_.get(), directory_.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) < 0)
      return fail(Status::from_errno("watch " + directory_));
    thread_ = std::thread([this] { run(); });
    return {};
  }

 private:
  void run() {
    set_thread_name("static-pods");
    read_all();
    while (true) {
      pollfd p[2] = {{notify_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      if (::poll(p, 2, -1) < 0) continue;
      if (p[1].revents != 0) return;
      char events[4096];
      while (::read(notify_.get(), events, sizeof events) > 0) {
      }
      read_all();
    }
  }

  void read_all() {
    std::vector<api::ObjectPtr> pods;
    auto names = file::list(directory_);
    if (!names) return;
    for (const std::string& name : *names) {
      if (name.starts_with('.')) continue;
      auto pod = read_pod(directory_ + "/" + name, node_name_);
      if (pod) pods.push_back(std::move(*pod));
      else log::warn("kubelet", "cannot read static pod", {{"file", name}, {"error", pod.error()}});
    }
    changed_(std::move(pods));
  }

  std::string directory_, node_name_;
  std::function<void(std::vector<api::ObjectPtr>)> changed_;
  Fd notify_, stop_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<StaticPods>> StaticPods::watch(const std::string& directory, const std::string& node_name,
                                                      std::function<void(std::vector<api::ObjectPtr>)> changed) {
  if (auto r = file::make_dirs(directory, 0700); !r) return fail(r.error());
  auto watcher = std::make_unique<Watcher>(directory, node_name, std::move(changed));
  if (auto r = watcher->begin(); !r) return fail(r.error());
  return watcher;
}

}  // namespace kcube::kubelet
