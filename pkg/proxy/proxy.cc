#include "pkg/proxy/proxy.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "net/address.h"
#include "pkg/api/views/core_v1.h"
#include "pkg/base/executor.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/base/work_queue.h"
#include "pkg/client/informer.h"
#include "pkg/proxy/endpoints.h"
#include "pkg/proxy/health.h"

namespace kcube::proxy {
namespace {

constexpr std::string_view kServiceLabel = "kubernetes.io/service-name";
constexpr std::string_view kZoneLabel = "topology.kubernetes.io/zone";
// Services with one of these, whatever its value, are not for us.
constexpr std::string_view kForeignLabels[] = {"service.kubernetes.io/service-proxy-name",
                                               "service.kubernetes.io/headless"};
constexpr std::string_view kPeersKey = "nodes";  // no service has a key without a slash

std::string service_key(const api::Object& slice) {
  return std::string(slice.namespace_()) + "/" + std::string(slice.label(kServiceLabel));
}

class ProxyImpl final : public Proxy {
 public:
  ProxyImpl(client::Client& client, net::NodeNetwork& network, Clock& clock, Options options)
      : network_(network), options_(std::move(options)), informers_(client, clock), queue_(clock) {}
  ~ProxyImpl() override { stop(); }

  Result<void> start() override {
    services_ = &informers_.informer(client::resources::kServices);
    slices_ = &informers_.informer(client::resources::kEndpointSlices);
    nodes_ = &informers_.informer(client::resources::kNodes);
    slices_->add_index("service",
                       [](const api::Object& slice) { return std::vector<std::string>{service_key(slice)}; });
    auto own = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { queue_.add(now->key()); };
    services_->add_handlers(
        {.changed = own, .removed = [this](const api::ObjectPtr& last) { queue_.add(last->key()); }});
    slices_->add_handlers(
        {.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { queue_.add(service_key(*now)); },
         .removed = [this](const api::ObjectPtr& last) { queue_.add(service_key(*last)); }});
    auto peers = [this] { queue_.add(std::string(kPeersKey)); };
    nodes_->add_handlers({.changed = [peers](const api::ObjectPtr&, const api::ObjectPtr&) { peers(); },
                          .removed = [peers](const api::ObjectPtr&) { peers(); }});
    queue_.on_ready([this] { executor_.submit([this] { pump(); }); });
    informers_.start();
    informers_.wait_synced();
    if (auto r = load_all(); !r) return r;
    {
      std::lock_guard lock(mutex_);
      started_ = true;
    }
    executor_.submit([this] { pump(); });
    return {};
  }

  void stop() override {
    if (std::exchange(stopped_, true)) return;
    queue_.shut_down();
    informers_.stop();
    executor_.stop();
    health_.stop();
  }

 private:
  // Everything in one transaction, so that a restart does not show half of the rules.
  Result<void> load_all() {
    std::lock_guard lock(mutex_);
    if (auto r = sync_nodes(); !r) return r;  // the zone first
    std::vector<net::ServicePort> all;
    for (const api::ObjectPtr& service : services_->list())
      for (net::ServicePort& port : ports_of(*service)) {
        programmed_[service->key()][port.key] = port;
        all.push_back(std::move(port));
      }
    if (auto r = network_.batch(all, {}); !r) {
      // One that the kernel refuses must not keep the others out: each is in the queue by itself too.
      log::warn("proxy", "cannot program all services at once", {{"error", r.error()}});
      programmed_.clear();
    }
    return {};
  }

  void pump() {
    std::lock_guard lock(mutex_);
    if (!started_) return;
    while (auto key = queue_.try_take()) {
      auto r = *key == kPeersKey ? sync_nodes() : sync_service(*key);
      if (r) {
        queue_.forget(*key);
      } else {
        log::warn("proxy", "cannot program", {{"service", *key}, {"error", r.error()}});
        queue_.add_rate_limited(*key);
      }
      queue_.done(*key);
    }
  }

  Result<void> sync_service(const std::string& key) {
    api::ObjectPtr service = services_->get(key);
    std::map<std::string, net::ServicePort> wanted;
    if (service)
      for (net::ServicePort& port : ports_of(*service)) wanted[port.key] = std::move(port);
    std::map<std::string, net::ServicePort>& have = programmed_[key];
    std::vector<net::ServicePort> set;
    std::vector<std::string> remove;
    for (const auto& [port_key, port] : wanted) {
      auto it = have.find(port_key);
      if (it == have.end() || !(it->second == port)) set.push_back(port);
    }
    for (const auto& [port_key, port] : have)
      if (!wanted.contains(port_key)) remove.push_back(port_key);
    if (!set.empty() || !remove.empty())
      if (auto r = network_.batch(set, remove); !r) return r;
    auto served = serve_health(key, service, wanted);
    if (wanted.empty())
      programmed_.erase(key);
    else
      have = std::move(wanted);
    return served;
  }

  Result<void> serve_health(const std::string& key, const api::ObjectPtr& service,
                            const std::map<std::string, net::ServicePort>& ports) {
    uint16_t port = 0;
    std::set<std::string> local;
    for (const auto& [port_key, p] : ports) {
      if (p.external_local)
        port = static_cast<uint16_t>(core::v1::Service(service->value()).spec().health_check_node_port());
      for (const net::Endpoint& e : p.endpoints)
        if (e.local) local.insert(e.ip);
    }
    return health_.set(key, port, local.size());
  }

  std::vector<net::ServicePort> ports_of(const api::Object& object) {
    core::v1::Service service(object.value());
    std::vector<net::ServicePort> out;
    std::string_view type = service.spec().type(), ip = service.spec().cluster_ip();
    if (type == "ExternalName" || ip.empty() || ip == "None" || ip == options_.dns_vip) return out;
    for (const auto& [label, value] : object.labels())
      if (std::ranges::find(kForeignLabels, label) != std::end(kForeignLabels)) return out;
    auto slices = slices_->by_index("service", object.key());
    for (auto p : service.spec().ports()) {
      net::ServicePort port;
      port.key = object.key() + ":" + std::string(p.name());
      for (std::string_view c : service.spec().cluster_ips()) port.cluster_ips.emplace_back(c);
      if (port.cluster_ips.empty()) port.cluster_ips.emplace_back(ip);
      for (std::string_view e : service.spec().external_ips()) port.external_ips.emplace_back(e);
      for (auto ingress : service.status().load_balancer().ingress())
        if (!ingress.ip().empty() && ingress.ip_mode() != "Proxy") port.load_balancer_ips.emplace_back(ingress.ip());
      for (std::string_view range : service.spec().load_balancer_source_ranges())
        port.source_ranges.emplace_back(trim(range));
      port.protocol = protocol_of(p.protocol());
      port.port = static_cast<uint16_t>(p.port());
      port.node_port = static_cast<uint16_t>(p.node_port());
      if (service.spec().session_affinity() == "ClientIP")
        port.affinity_seconds =
            static_cast<uint32_t>(service.spec().session_affinity_config().client_ip().timeout_seconds(10800));
      port.internal_local = service.spec().internal_traffic_policy() == "Local";
      port.external_local = service.spec().external_traffic_policy() == "Local";
      port.endpoints = endpoints_of(slices, p, {options_.node_name, zone_}, port.internal_local || port.external_local);
      out.push_back(std::move(port));
    }
    return out;
  }

  Result<void> sync_nodes() {
    std::vector<net::Peer> peers;
    api::ObjectPtr own = nodes_->get(options_.node_name);
    if (std::string zone(own ? own->label(kZoneLabel) : ""); zone != std::exchange(zone_, zone))
      for (const auto& [key, ports] : programmed_) queue_.add(key);
    for (const api::ObjectPtr& object : nodes_->list()) {
      if (object->name() == options_.node_name) continue;
      core::v1::Node node(object->value());
      net::Peer peer{std::string(object->name()), {}, std::string(node.spec().pod_cidr())};
      for (auto a : node.status().addresses())
        if (a.type() == "InternalIP" && peer.node_ip.empty() && net::parse_ipv4(std::string(a.address())))
          peer.node_ip = a.address();
      if (!peer.node_ip.empty() && !peer.pod_cidr.empty()) peers.push_back(std::move(peer));
    }
    return network_.set_peers(peers);
  }

  net::NodeNetwork& network_;
  const Options options_;
  client::InformerFactory informers_;
  client::Informer *services_ = nullptr, *slices_ = nullptr, *nodes_ = nullptr;
  WorkQueue queue_;
  std::mutex mutex_;  // one change at a time
  std::string zone_;  // of this node
  HealthPorts health_;
  bool started_ = false, stopped_ = false;
  std::map<std::string, std::map<std::string, net::ServicePort>>
      programmed_;  // service -> port key -> what the kernel has
  Executor executor_{{.name = "proxy", .max_threads = 1}};
};

}  // namespace

std::unique_ptr<Proxy> Proxy::create(client::Client& client, net::NodeNetwork& network, Clock& clock, Options options) {
  return std::make_unique<ProxyImpl>(client, network, clock, std::move(options));
}

}  // namespace kcube::proxy
