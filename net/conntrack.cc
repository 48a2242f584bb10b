// Forgetting UDP flows to endpoints that are gone: without a connection to close, a flow would stick to its old endpoint.
// Source: linux/netfilter/nfnetlink_conntrack.h.
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "net/service_table.h"

namespace kcube::net {
namespace {

constexpr uint16_t type_of(uint16_t message) { return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | message); }

nfgenmsg family_header() {
  nfgenmsg h{};
  h.nfgen_family = AF_INET;
  h.version = NFNETLINK_V0;
  return h;
}

struct Flow {
  std::string original;        // CTA_TUPLE_ORIG as it came
  uint32_t reply_source = 0;   // host order: who answers
  uint8_t protocol = 0;
};

Flow parse(std::string_view payload) {
  Flow flow;
  for_each_attribute(payload.substr(std::min(sizeof(nfgenmsg), payload.size())), [&](uint16_t type, std::string_view data) {
    if (type == CTA_TUPLE_ORIG) flow.original = data;
    if (type != CTA_TUPLE_REPLY) return;
    for_each_attribute(data, [&](uint16_t part, std::string_view inner) {
      for_each_attribute(inner, [&](uint16_t leaf, std::string_view value) {
        uint32_t ip;
        if (part == CTA_TUPLE_IP && leaf == CTA_IP_V4_SRC && value.size() == sizeof ip) {
          std::memcpy(&ip, value.data(), sizeof ip);
          flow.reply_source = ntohl(ip);
        }
        if (part == CTA_TUPLE_PROTO && leaf == CTA_PROTO_NUM && !value.empty()) flow.protocol = static_cast<uint8_t>(value[0]);
      });
    });
  });
  return flow;
}

}  // namespace

Result<void> ServiceTable::forget_udp_flows(const std::vector<uint32_t>& endpoints) {
  std::vector<Flow> gone;
  NetlinkMessage dump;
  dump.begin(type_of(IPCTNL_MSG_CT_GET), NLM_F_DUMP, family_header());
  auto r = socket_.dump(dump, "list connections", [&](const NetlinkReply& reply) {
    Flow flow = parse(reply.payload);
    if (flow.protocol == IPPROTO_UDP && std::ranges::find(endpoints, flow.reply_source) != endpoints.end()) gone.push_back(std::move(flow));
  });
  if (!r) return r;
  for (const Flow& flow : gone) {
    NetlinkMessage m;
    m.begin(type_of(IPCTNL_MSG_CT_DELETE), NLM_F_ACK, family_header());
    m.put(CTA_TUPLE_ORIG | NLA_F_NESTED, flow.original.data(), flow.original.size());
    if (auto d = socket_.request(m, "forget connection"); !d && d.error().os_error() != ENOENT) return d;
  }
  return {};
}

}  // namespace kcube::net
