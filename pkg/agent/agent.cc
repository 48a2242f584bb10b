#include "pkg/agent/agent.h"

#include <set>

#include "net/network.h"
#include "pkg/agent/pod_network.h"
#include "pkg/base/executor.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/client/informer.h"
#include "pkg/dns/dns.h"
#include "pkg/kubelet/kubelet.h"
#include "pkg/kubelet/volumes.h"
#include "pkg/proxy/proxy.h"
#include "runtime/image_store.h"
#include "runtime/pod_runtime.h"

namespace kcube::agent {
namespace {

constexpr std::string_view kRoom = "agent";

runtime::RuntimeOptions runtime_options(const Options& o) {
  return {o.run_dir + "/runtime", o.data_dir + "/containers", o.cgroup_root, o.data_dir + "/seccomp", nullptr, nullptr};
}

class AgentImpl final : public Agent {
 public:
  AgentImpl(Options options, client::Client& client, Clock& clock)
      : options_(std::move(options)), client_(client), clock_(clock), informers_(client, clock), worker_({"agent", 1, 256}) {}
  ~AgentImpl() override { stop(); }

  Result<void> open() {
    for (const char* sub : {"", "/images", "/containers", "/seccomp", "/pods", "/logs"})
      if (auto made = file::make_dirs(options_.data_dir + sub, 0700); !made) return made;
    if (auto made = file::make_dirs(options_.run_dir, 0700); !made) return made;
    auto images = runtime::open_image_store({options_.data_dir + "/images", options_.registries_file});
    if (!images) return fail(images.error().with_context("open the image store"));
    images_ = std::move(*images);
    runtime::RuntimeOptions wanted = runtime_options(options_);
    wanted.images = images_.get();
    wanted.network = &pod_network_;
    auto opened = runtime::open_runtime(wanted);
    if (!opened) return fail(opened.error().with_context("open the runtime"));
    runtime_ = std::move(*opened);
    auto kubelet = kubelet::Kubelet::create(kubelet_options(), client_, *runtime_, *images_, clock_);
    if (!kubelet) return fail(kubelet.error().with_context("kubelet"));
    kubelet_ = std::move(*kubelet);
    return {};
  }

  Result<void> start() override {
    if (!options_.bundled_images.empty()) load_bundled_images();
    auto& nodes = informers_.informer({"", "v1", "nodes"});
    nodes.add_handlers({[this](const client::ObjectPtr&, const client::ObjectPtr& now) { node_changed(now); }, {}});
    if (auto started = kubelet_->start(); !started) return started;
    informers_.start();
    return {};
  }

  void stop() override {
    pod_network_.close();
    if (kubelet_) kubelet_->stop();
    informers_.stop();
    worker_.stop();
    if (dns_) dns_->stop();
    if (proxy_) proxy_->stop();
  }

  void stop_pods(std::chrono::milliseconds limit) override { kubelet_->stop_pods(limit); }
  Result<void> set_certificate(const http::TlsOptions& tls) override { return kubelet_->set_certificate(tls); }

 private:
  kubelet::Options kubelet_options() const {
    kubelet::Options k;
    k.node_name = options_.node_name;
    k.node_ip = options_.node_ip;
    k.data_dir = options_.data_dir;
    k.log_dir = options_.data_dir + "/logs";
    k.static_pod_dir = options_.static_pod_dir;
    k.cgroup_root = options_.cgroup_root;
    k.labels = options_.labels;
    k.taints = options_.taints;
    k.cluster_dns = options_.network.dns_vip;
    k.cluster_domain = options_.network.cluster_domain;
    k.version = options_.version;
    k.listen_address = options_.listen_address;
    k.port = options_.kubelet_port;
    k.tls = options_.kubelet_tls;
    return k;
  }

  void load_bundled_images() {
    auto loaded = images_->load_bytes(options_.bundled_images, true);
    if (!loaded) log::warn(kRoom, "the images that come with the binary could not be loaded", {{"error", loaded.error()}});
  }

  // Informer thread: hands the work on.
  void node_changed(const client::ObjectPtr& node) {
    std::string cidr(json::get_string(node->value(), {"spec", "podCIDR"}));
    if (cidr.empty() || node->name() != options_.node_name) return;
    worker_.submit([this, cidr] {
      if (!network_) open_network(cidr);
    });
  }

  // Worker thread, once.
  void open_network(const std::string& pod_cidr) {
    const NetworkOptions& n = options_.network;
    net::NodeNetworkOptions wanted;
    wanted.prefix = n.prefix;
    wanted.pod_cidr = pod_cidr;
    wanted.cluster_cidr = n.cluster_cidr;
    wanted.service_cidr = n.service_cidr;
    wanted.node_ip = options_.node_ip;
    wanted.dns_vip = n.dns_vip;
    wanted.state_dir = options_.run_dir + "/network";
    wanted.vxlan_id = n.vxlan_id;
    wanted.vxlan_port = n.vxlan_port;
    (void)file::make_dirs(wanted.state_dir, 0700);
    auto opened = net::open_network(wanted);
    if (!opened) {
      kubelet_->set_network_ready(false, opened.error().message());
      return log::error(kRoom, "the node's network could not be made", {{"error", opened.error()}});
    }
    network_ = std::move(*opened);
    forget_gone_sandboxes();
    pod_network_.open(network_.get());
    kubelet_->set_network_ready(true, "");
    proxy_ = proxy::Proxy::create(client_, *network_, clock_, {options_.node_name, n.dns_vip});
    if (auto started = proxy_->start(); !started) log::error(kRoom, "the proxy could not start", {{"error", started.error()}});
    dns::Options d;
    d.listen = {n.dns_vip};
    d.domain = n.cluster_domain;
    d.node_ip = options_.node_ip;
    d.resolv_conf = options_.resolv_conf;
    auto dns = dns::Server::create(client_, clock_, std::move(d));
    if (!dns) return log::error(kRoom, "the DNS server could not start", {{"error", dns.error()}});
    dns_ = std::move(*dns);
    if (auto started = dns_->start(); !started) log::error(kRoom, "the DNS server could not start", {{"error", started.error()}});
  }

  // Addresses of sandboxes that ended while no kcube was running.
  void forget_gone_sandboxes() {
    auto sandboxes = runtime_->list_sandboxes();
    if (!sandboxes) return;
    std::set<std::string> known;
    for (const auto& s : *sandboxes) known.insert(s.id);
    for (const std::string& id : network_->attached())
      if (!known.contains(id)) (void)network_->detach(id);
  }

  const Options options_;
  client::Client& client_;
  Clock& clock_;
  PodNetwork pod_network_;
  std::unique_ptr<net::NodeNetwork> network_;
  std::unique_ptr<runtime::ImageStore> images_;
  std::unique_ptr<runtime::PodRuntime> runtime_;
  std::unique_ptr<proxy::Proxy> proxy_;
  std::unique_ptr<dns::Server> dns_;
  std::unique_ptr<kubelet::Kubelet> kubelet_;
  client::InformerFactory informers_;
  Executor worker_;
};

}  // namespace

Result<std::unique_ptr<Agent>> Agent::create(Options options, client::Client& client, Clock& clock) {
  auto agent = std::make_unique<AgentImpl>(std::move(options), client, clock);
  if (auto opened = agent->open(); !opened) return fail(opened.error());
  return agent;
}

Result<void> clean_up(const Options& options) {
  // One failure must not keep the rest from being cleaned up.
  runtime::RuntimeOptions wanted = runtime_options(options);
  // Containers give back what they hold of images. Without data there is nothing to give back, and none is made.
  std::string images = options.data_dir + "/images";
  auto store = runtime::open_image_store({file::exists(images) ? images : options.run_dir + "/images", ""});
  if (!store) return fail(store.error().with_context("open the image store"));
  wanted.images = store->get();
  auto containers = runtime::reset_runtime(wanted);
  auto volumes = kubelet::unmount_volumes(options.data_dir + "/pods");
  auto links = net::remove_all(options.network.prefix);
  (void)file::remove_tree(options.run_dir);
  if (!containers) return containers;
  if (!volumes) return volumes;
  return links;
}

}  // namespace kcube::agent
