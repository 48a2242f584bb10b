#include "pkg/proxy/endpoints.h"

#include <algorithm>
#include <map>
#include <set>

#include "pkg/api/views/discovery_v1.h"

namespace kcube::proxy {
namespace {

struct Candidate {
  net::Endpoint endpoint;
  std::set<std::string, std::less<>> zones, nodes;  // hints
};
using Candidates = std::map<std::pair<std::string, uint16_t>, Candidate>;

void add_endpoint(discovery::v1::Endpoint e, uint16_t port, const Place& here, Candidates& to) {
  for (std::string_view address : e.addresses()) {
    Candidate c{{std::string(address), port, e.node_name() == here.node}, {}, {}};
    for (auto zone : e.hints().for_zones()) c.zones.emplace(zone.name());
    for (auto node : e.hints().for_nodes()) c.nodes.emplace(node.name());
    to[{std::string(address), port}] = std::move(c);
  }
}

// Keeps those hinted to `here`; leaves all when one has no hint or none is for here.
bool keep_hinted(Candidates& candidates, std::set<std::string, std::less<>> Candidate::*hints,
                 const std::string& here) {
  auto hinted = [&](const auto& c) { return (c.second.*hints).contains(here); };
  if (here.empty() || std::ranges::any_of(candidates, [&](const auto& c) { return (c.second.*hints).empty(); }) ||
      std::ranges::none_of(candidates, hinted))
    return false;
  std::erase_if(candidates, [&](const auto& c) { return !hinted(c); });
  return true;
}

}  // namespace

net::Protocol protocol_of(std::string_view text) {
  return text == "UDP" ? net::Protocol::udp : text == "SCTP" ? net::Protocol::sctp : net::Protocol::tcp;
}

std::vector<net::Endpoint> endpoints_of(const std::vector<api::ObjectPtr>& slices, core::v1::ServicePort service_port,
                                        const Place& here, bool all) {
  Candidates ready, ending;
  for (const api::ObjectPtr& object : slices) {
    discovery::v1::EndpointSlice slice(object->value());
    if (slice.address_type() != "IPv4") continue;
    for (auto port : slice.ports()) {
      if (port.name() != service_port.name() || protocol_of(port.protocol()) != protocol_of(service_port.protocol()))
        continue;
      for (auto e : slice.endpoints()) {
        auto conditions = e.conditions();
        if (!conditions.has_ready() || conditions.ready())
          add_endpoint(e, static_cast<uint16_t>(port.port()), here, ready);
        else if (conditions.terminating() && conditions.serving())
          add_endpoint(e, static_cast<uint16_t>(port.port()), here, ending);
      }
    }
  }
  if (!all && !keep_hinted(ready, &Candidate::nodes, here.node)) keep_hinted(ready, &Candidate::zones, here.zone);
  std::vector<net::Endpoint> out;
  for (auto& [key, candidate] : ready.empty() ? ending : ready) out.push_back(candidate.endpoint);
  return out;
}

}  // namespace kcube::proxy
