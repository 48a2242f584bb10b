#include "pkg/agent/pod_network.h"

#include <fcntl.h>

namespace kcube::agent {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

net::Protocol protocol_of(runtime::Protocol p) {
  switch (p) {
    case runtime::Protocol::tcp: return net::Protocol::tcp;
    case runtime::Protocol::udp: return net::Protocol::udp;
    case runtime::Protocol::sctp: return net::Protocol::sctp;
  }
  return net::Protocol::tcp;
}

}  // namespace

void PodNetwork::open(net::NodeNetwork* network) {
  std::lock_guard lock(mutex_);
  network_ = network;
  opened_.notify_all();
}

void PodNetwork::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  opened_.notify_all();
}

Result<std::vector<std::string>> PodNetwork::attach(const std::string& sandbox_id, const Fd& netns, const runtime::SandboxConfig& config) {
  std::unique_lock lock(mutex_);
  opened_.wait_for(lock, kPatience, [&] { return network_ != nullptr || closed_; });
  net::NodeNetwork* network = network_;
  lock.unlock();
  if (network == nullptr) return fail(Status::unavailable("the node has no range of pod addresses yet (spec.podCIDR)"));
  net::AttachRequest request{sandbox_id, Fd(::fcntl(netns.get(), F_DUPFD_CLOEXEC, 3)), {}};
  for (const runtime::PortMapping& p : config.port_mappings)
    if (p.host_port != 0) request.host_ports.push_back({protocol_of(p.protocol), p.host_port, p.container_port, p.host_ip});
  return network->attach(std::move(request));
}

Result<void> PodNetwork::detach(const std::string& sandbox_id) {
  std::unique_lock lock(mutex_);
  net::NodeNetwork* network = network_;
  lock.unlock();
  if (network == nullptr) return {};
  return network->detach(sandbox_id);
}

}  // namespace kcube::agent
