// Lab: a runtime over directories and cgroups of the test's own, with an image that is Debian's static busybox.
// Everything it made is gone when it is destroyed, also when the test has failed.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/image_store.h"
#include "runtime/pod_runtime.h"

namespace kcube::runtime::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

// One image, "busybox", whose root is a directory.
class FakeImages final : public ImageStore {
 public:
  explicit FakeImages(std::string root) : root_(std::move(root)) {}
  ImageConfig config;
  std::set<std::string> leases;

  Result<Image> resolve(const std::string& reference) override {
    if (reference != "busybox") return fail(Status::not_found("image " + reference + " not found"));
    Image image;
    image.id = "busybox";
    image.config = config;
    return image;
  }
  Result<std::vector<Image>> list() override { return std::vector<Image>{}; }
  Result<std::vector<Image>> load(const std::string&, bool) override { return std::vector<Image>{}; }
  Result<std::vector<Image>> load_bytes(std::string_view, bool) override { return std::vector<Image>{}; }
  Result<void> save(const std::vector<std::string>&, const std::string&) override { return {}; }
  Result<Image> pull(const std::string& reference, const PullOptions&) override { return resolve(reference); }
  Result<void> tag(const std::string&, const std::string&) override { return {}; }
  Result<void> remove(const std::string&) override { return {}; }
  Result<std::vector<std::string>> lease_layers(const std::string&, const std::string& lease) override {
    std::lock_guard lock(mutex_);
    leases.insert(lease);
    return std::vector<std::string>{root_};
  }
  void unlease(const std::string& lease) override {
    std::lock_guard lock(mutex_);
    leases.erase(lease);
  }

 private:
  std::string root_;
  std::mutex mutex_;
};

inline std::string slurp(const std::string& path) { return file::read(path).value_or(""); }

class Lab {
 public:
  // Without a runtime of its own when another process is to have it first.
  explicit Lab(bool opened = true) {
    char name[] = "/tmp/kcube-runtime-XXXXXX";
    directory = ::mkdtemp(name);
    ::chmod(directory.c_str(), 0755);
    make_image();
    images = std::make_unique<FakeImages>(directory + "/image");
    images->config.env = {"PATH=/bin", "FROM_IMAGE=yes"};
    images->config.cmd = {"/bin/sleep", "1000"};
    options.state_dir = directory + "/state";
    options.data_dir = directory + "/data";
    options.seccomp_dir = directory + "/seccomp";
    options.cgroup_root = "/kcube-test-" + std::to_string(::getpid()) + "-" + random_suffix();
    options.images = images.get();
    EXPECT_TRUE(file::make_dirs(options.seccomp_dir));
    if (opened) open();
  }
  ~Lab() {
    runtime.reset();
    auto gone = reset_runtime(options);
    EXPECT_TRUE(gone) << gone.error().message();
    EXPECT_TRUE(images->leases.empty()) << "a lease is left: " << *images->leases.begin();
    EXPECT_TRUE(file::remove_tree(directory));
  }

  void open() {
    auto opened = open_runtime(options);
    ASSERT_TRUE(opened) << opened.error().message();
    runtime = std::move(*opened);
  }

  SandboxConfig pod() const {
    SandboxConfig config;
    config.name = "web";
    config.namespace_ = "default";
    config.uid = "5a3c0c4e-0000-4000-8000-000000000001";
    config.hostname = "web";
    config.log_directory = directory + "/logs";
    config.cgroup_parent = options.cgroup_root + "/kubepods/pod-" + random_suffix();
    config.dns.servers = {"10.43.0.10"};
    config.dns.searches = {"default.svc.cluster.local", "svc.cluster.local"};
    return config;
  }
  static ContainerConfig shell(const std::string& script) {
    ContainerConfig config;
    config.name = "main";
    config.image_id = "busybox";
    config.image_name = "busybox";
    config.command = {"/bin/sh", "-c", script};
    static std::atomic<int> last = 0;
    config.log_path = "main/" + std::to_string(++last) + ".log";
    return config;
  }
  std::string sandbox(const SandboxConfig& config) {
    auto made = runtime->run_sandbox(config);
    EXPECT_TRUE(made) << made.error().message();
    return made ? made->id : "";
  }
  std::string sandbox() { return sandbox(pod()); }
  std::string start(const std::string& sandbox_id, const ContainerConfig& config) {
    auto id = runtime->create_container(sandbox_id, config);
    EXPECT_TRUE(id) << id.error().message();
    if (!id) return "";
    auto started = runtime->start_container(*id);
    EXPECT_TRUE(started) << started.error().message();
    return *id;
  }
  // Polls the state, for tests only: events have a test of their own.
  ContainerStatus wait_exit(const std::string& id) {
    for (int i = 0; i < 3000; ++i) {
      auto status = runtime->container_status(id);
      if (!status || status->state == ContainerState::exited) return status.value_or(ContainerStatus{});
      ::usleep(5000);
    }
    ADD_FAILURE() << "the container does not end";
    return {};
  }
  // Runs a script to its end in a pod of its own; the text of its log.
  std::string run(const ContainerConfig& config, const SandboxConfig& pod_config, int* code = nullptr) {
    std::string id = sandbox(pod_config);
    if (id.empty()) return "";
    std::string container = start(id, config);
    ContainerStatus status = wait_exit(container);
    if (code != nullptr) *code = status.exit_code;
    std::string text = log_text(status.log_path);
    EXPECT_TRUE(runtime->remove_sandbox(id));
    return text;
  }
  std::string run(const ContainerConfig& config, int* code = nullptr) { return run(config, pod(), code); }
  std::string run(const std::string& script, int* code = nullptr) { return run(shell(script), code); }
  // The lines of a CRI log without times and streams.
  static std::string log_text(const std::string& path) {
    std::istringstream lines(slurp(path));
    std::string line, out;
    while (std::getline(lines, line)) {
      size_t at = line.find(' ');
      if (at != std::string::npos) at = line.find(' ', at + 1);
      if (at == std::string::npos || line.size() < at + 3) continue;
      out += line.substr(at + 3) + (line[at + 1] == 'F' ? "\n" : "");
    }
    return out;
  }

  std::string directory;
  RuntimeOptions options;
  std::unique_ptr<FakeImages> images;
  std::unique_ptr<PodRuntime> runtime;

 private:
  void make_image() {
    std::string root = directory + "/image";
    for (const char* d : {"/bin", "/etc", "/tmp", "/proc", "/sys", "/dev", "/home/bob"})
      EXPECT_TRUE(file::make_dirs(root + d));
    ::chmod((root + "/tmp").c_str(), 01777);
    ASSERT_EQ(0,
              std::system(("cp /bin/busybox " + root + "/bin/busybox && " + root + "/bin/busybox --install -s " + root +
                           "/bin && " + "for l in " + root + "/bin/*; do [ -L $l ] && ln -sfn busybox $l; done; true")
                              .c_str()));
    EXPECT_TRUE(
        file::write(root + "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n"));
    EXPECT_TRUE(file::write(root + "/etc/group", "root:x:0:\nbob:x:1001:\nwheel:x:10:bob\nvideo:x:44:alice,bob\n"));
  }
};

}  // namespace kcube::runtime::test
