// `kcube agent`: this machine as a node of a cluster elsewhere. SIGTERM, SIGINT and SIGHUP leave its containers running, SIGUSR2
// ends them first.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "cmd/kcube/bundled.h"
#include "cmd/kcube/signals.h"
#include "cmd/kcube/verbs.h"
#include "net/network.h"
#include "pkg/agent/join.h"
#include "pkg/base/file.h"
#include "pkg/base/last_words.h"
#include "pkg/base/log.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"
#include "pkg/server/addons.h"

namespace kcube::cli {
namespace {

constexpr auto kGrace = std::chrono::seconds(10);
constexpr auto kRenewalRetry = std::chrono::minutes(5);

Result<std::string> read_token(const AgentFlags& flags) {
  if (!flags.token.empty()) return flags.token;
  if (flags.token_file.empty()) return fail(Status::bad_request("--token or --token-file is needed: `kcube token create` on the server prints the whole line"));
  auto text = file::read(flags.token_file);
  if (!text) return fail(text.error().with_context("--token-file"));
  return std::string(trim(*text));
}

// Renews both certificates when two thirds of their life are over.
class Renewal {
 public:
  Renewal(agent::JoinOptions options, agent::Identity identity, client::RemoteClient& api, agent::Agent& agent)
      : options_(std::move(options)), identity_(std::move(identity)), api_(api), agent_(agent) {
    schedule(agent::renewal_time(identity_));
  }
  ~Renewal() {
    stopping_ = true;
    RealClock::instance().cancel(timer_);
    if (worker_.joinable()) worker_.join();
  }

 private:
  void schedule(SystemTime when) {
    auto delay = std::max<Duration>(when - RealClock::instance().now(), std::chrono::seconds(1));
    timer_ = RealClock::instance().schedule(delay, [this] {
      if (worker_.joinable()) worker_.join();
      worker_ = std::thread([this] { renew(); });
    });
  }
  void renew() {
    auto fresh = agent::renew(options_, identity_, RealClock::instance());
    if (!fresh) {
      log::warn("agent", "the node's certificates could not be renewed", {{"error", fresh.error()}});
      if (!stopping_) schedule(RealClock::instance().now() + kRenewalRetry);
      return;
    }
    identity_ = std::move(*fresh);
    api_.set_credentials({options_.server, identity_.ca_pem, identity_.client.certificate_pem, identity_.client.key_pem, ""});
    (void)agent_.set_certificate({identity_.serving.certificate_pem, identity_.serving.key_pem, identity_.ca_pem});
    log::info("agent", "the node's certificates were renewed");
    if (!stopping_) schedule(agent::renewal_time(identity_));
  }

  const agent::JoinOptions options_;
  agent::Identity identity_;
  client::RemoteClient& api_;
  agent::Agent& agent_;
  TimerId timer_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread worker_;
};

}  // namespace

int agent(const ClusterFlags& cluster_flags, const AgentFlags& flags, const RunFlags& run) {
  if (auto opened = log::open(run.log_file, run.debug ? log::Level::debug : log::Level::info); !opened) return report(opened.error());
  if (::geteuid() != 0) return report(Status(403, "KC_NOT_ROOT", "containers need root on this machine: try `sudo kcube agent`"));
  process::raise_file_limit();
  install_last_words();
  SignalWaiter signals({SIGTERM, SIGINT, SIGHUP, SIGUSR2});
  auto cluster = find_cluster(cluster_flags, false);
  if (!cluster) return report(cluster.error());
  auto token = read_token(flags);
  if (!token) return report(token.error());
  agent::Options options = node_options(*cluster, flags.node);
  if (flags.node != 1) options.kubelet_port = 10250;
  if (flags.kubelet_port != 0) options.kubelet_port = flags.kubelet_port;
  options.node_name = flags.node_name.empty() ? host_name() : flags.node_name;
  options.node_ip = !flags.node_ip.empty() ? flags.node_ip : net::default_address().value_or("127.0.0.1");
  if (flags.node == 1) options.static_pod_dir = cluster->data_dir + "/static-pods";
  else options.static_pod_dir.clear();
  for (const std::string& label : flags.labels) options.labels.insert(split_pair(label));
  options.taints = flags.taints;
  options.bundled_images = bundled_images();
  RunDirectory run_directory(cluster->run_dir);
  for (const std::string& directory : {cluster->run_dir, options.data_dir})
    if (auto made = file::make_dirs(directory, 0711); !made) return report(made.error());
  auto lock = file::lock(options.data_dir + "/lock");
  if (!lock) return report(lock.error().is_conflict() ? Status(409, "KC_ALREADY_RUNNING", "a kcube agent already runs on " + options.data_dir) : lock.error());

  agent::JoinOptions join{flags.server, *token, options.node_name, options.node_ip, options.data_dir + "/pki"};
  auto identity = agent::join(join, RealClock::instance(), [&](std::chrono::milliseconds delay) { return !signals.pending(delay); });
  if (!identity) return signals.pending(std::chrono::milliseconds(0)) ? 0 : report(identity.error());
  auto api = client::remote_client({flags.server, identity->ca_pem, identity->client.certificate_pem, identity->client.key_pem, ""});
  auto network = server::read_network_options(*api);
  if (!network) return report(network.error());
  network->prefix = options.network.prefix;
  options.network = std::move(*network);
  options.kubelet_tls = {identity->serving.certificate_pem, identity->serving.key_pem, identity->ca_pem};
  auto agent = agent::Agent::create(options, *api, RealClock::instance());
  if (!agent) return report(agent.error());
  if (auto started = (*agent)->start(); !started) return report(started.error());
  Renewal renewal(join, *identity, *api, **agent);
  log::info("agent", "joined", {{"server", flags.server}, {"node", options.node_name}});
  int signal = signals.wait();
  log::info("agent", "stopping", {{"signal", signal}});
  if (signal == SIGUSR2) (*agent)->stop_pods(kGrace);
  (*agent)->stop();
  return 0;
}

}  // namespace kcube::cli
