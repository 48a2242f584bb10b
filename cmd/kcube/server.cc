// `kcube server`: a cluster in the foreground. SIGTERM, SIGINT and SIGHUP leave its containers running, SIGUSR2 ends them first.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "cmd/kcube/bundled.h"
#include "cmd/kcube/signals.h"
#include "cmd/kcube/verbs.h"
#include "pkg/base/file.h"
#include "pkg/base/last_words.h"
#include "pkg/base/log.h"
#include "pkg/base/process.h"

namespace kcube::cli {
namespace {

constexpr auto kGrace = std::chrono::seconds(10);

// Lines for whoever started us: "step TEXT", "error TEXT".
class Progress {
 public:
  explicit Progress(int fd) : fd_(fd) {
    if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  void say(std::string_view kind, std::string_view text) {
    if (!fd_.valid()) return;
    std::string line = std::string(kind) + " " + std::string(text) + "\n";
    (void)!::write(fd_.get(), line.data(), line.size());
  }
  void close() { fd_.reset(); }

 private:
  Fd fd_;
};

}  // namespace

int server(const ClusterFlags& cluster_flags, const ServerFlags& flags, const RunFlags& run) {
  Progress progress(run.progress_fd);
  auto refuse = [&](const Status& status) {
    std::string id = status.reason().starts_with("KC_") ? status.reason() + ": " : "";
    progress.say("error", id + status.message());
    return report(status);
  };
  if (auto opened = log::open(run.log_file, run.debug ? log::Level::debug : log::Level::info); !opened) return refuse(opened.error());
  if (::geteuid() != 0) return refuse(Status(403, "KC_NOT_ROOT", "containers need root on this machine: try `sudo kcube`"));
  process::raise_file_limit();
  install_last_words();
  SignalWaiter signals({SIGTERM, SIGINT, SIGHUP, SIGUSR2});
  auto cluster = find_cluster(cluster_flags, true);
  if (!cluster) return refuse(cluster.error());
  auto options = server_options(*cluster, flags);
  if (!options) return refuse(options.error());
  RunDirectory run_directory(cluster->run_dir);
  if (auto made = file::make_dirs(cluster->run_dir, 0711); !made) return refuse(made.error());
  options->node.bundled_images = bundled_images();
  options->progress = [&](std::string_view step) {
    progress.say("step", step);
    log::info("server", "started", {{"step", step}});
  };
  auto server = server::Server::create(std::move(*options), RealClock::instance());
  if (!server) return refuse(server.error());
  if (auto written = write_pid_file(cluster->pid_file(), ::getpid()); !written) return refuse(written.error());
  if (auto started = (*server)->start(); !started) {
    (*server)->stop();
    (void)file::remove(cluster->pid_file());
    return refuse(started.error());
  }
  progress.say("ready", "");
  progress.close();
  int signal = signals.wait();
  log::info("server", "stopping", {{"signal", signal}});
  if (signal == SIGUSR2) (*server)->shut_down(kGrace);
  else (*server)->stop();
  (void)file::remove(cluster->pid_file());
  server->reset();
  return 0;
}

}  // namespace kcube::cli
