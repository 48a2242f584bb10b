#include "net/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cstring>

namespace kcube::net {
namespace {

constexpr uint16_t type_of(uint16_t message) { return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | message); }

nfgenmsg family_header() {
  nfgenmsg h{};
  h.nfgen_family = AF_INET;
  h.version = NFNETLINK_V0;
  return h;
}

struct Tuple {
  AddressPort source, destination;
  uint8_t protocol = 0;
};

struct Flow {
  std::string original;  // CTA_TUPLE_ORIG as it came, to name the flow by
  Tuple there, back;
};

template <typename T>
T read_as(std::string_view data) {
  T v{};
  if (data.size() >= sizeof v) std::memcpy(&v, data.data(), sizeof v);
  return v;
}

Tuple parse_tuple(std::string_view bytes) {
  Tuple out;
  for_each_attribute(bytes, [&](uint16_t part, std::string_view inner) {
    for_each_attribute(inner, [&](uint16_t leaf, std::string_view value) {
      if (part == CTA_TUPLE_IP && leaf == CTA_IP_V4_SRC) out.source.first = ntohl(read_as<uint32_t>(value));
      if (part == CTA_TUPLE_IP && leaf == CTA_IP_V4_DST) out.destination.first = ntohl(read_as<uint32_t>(value));
      if (part != CTA_TUPLE_PROTO) return;
      if (leaf == CTA_PROTO_NUM) out.protocol = read_as<uint8_t>(value);
      if (leaf == CTA_PROTO_SRC_PORT) out.source.second = ntohs(read_as<uint16_t>(value));
      if (leaf == CTA_PROTO_DST_PORT) out.destination.second = ntohs(read_as<uint16_t>(value));
    });
  });
  return out;
}

Flow parse(std::string_view payload) {
  Flow flow;
  if (payload.size() < sizeof(nfgenmsg)) return flow;
  for_each_attribute(payload.substr(sizeof(nfgenmsg)), [&](uint16_t type, std::string_view data) {
    if (type == CTA_TUPLE_ORIG) {
      flow.original = data;
      flow.there = parse_tuple(data);
    }
    if (type == CTA_TUPLE_REPLY) flow.back = parse_tuple(data);
  });
  return flow;
}

bool is_stale(const Flow& flow, const FlowTargets& targets) {
  if (flow.there.protocol != IPPROTO_UDP) return false;
  if (auto it = targets.find(flow.there.destination); it != targets.end())
    return !it->second.contains(flow.back.source);
  auto any = targets.find({0, flow.there.destination.second});
  if (any == targets.end() || any->second.contains(flow.back.source)) return false;
  // Somebody's flow to the same port of another machine: not translated here, but its source is.
  bool passes_through = flow.back.source == flow.there.destination && flow.back.destination != flow.there.source;
  return !passes_through;
}

}  // namespace

Result<void> forget_udp_flows(NetlinkSocket& socket, const FlowTargets& targets) {
  std::vector<Flow> stale;
  NetlinkMessage dump;
  dump.begin(type_of(IPCTNL_MSG_CT_GET), NLM_F_DUMP, family_header());
  auto r = socket.dump(dump, "list connections", [&](const NetlinkReply& reply) {
    if (Flow flow = parse(reply.payload); is_stale(flow, targets)) stale.push_back(std::move(flow));
  });
  if (!r) return r;
  for (const Flow& flow : stale) {
    NetlinkMessage m;
    m.begin(type_of(IPCTNL_MSG_CT_DELETE), NLM_F_ACK, family_header());
    m.put(CTA_TUPLE_ORIG | NLA_F_NESTED, flow.original.data(), flow.original.size());
    if (auto d = socket.request(m, "forget connection"); !d && d.error().os_error() != ENOENT) return d;
  }
  return {};
}

}  // namespace kcube::net
