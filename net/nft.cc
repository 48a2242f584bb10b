#include "net/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstring>

namespace kcube::net {
namespace {

// Registers of 4 bytes: NFT_REG32_00 and up.
uint32_t reg32(NftRule::Reg r) { return NFT_REG32_00 + r; }

nfgenmsg header(uint8_t family) {
  nfgenmsg h{};
  h.nfgen_family = family;
  h.version = NFNETLINK_V0;
  return h;
}

nfgenmsg batch_header() {
  nfgenmsg h{};
  h.res_id = htons(NFNL_SUBSYS_NFTABLES);
  return h;
}

constexpr uint16_t type_of(uint16_t message) { return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message); }

void put_data(NetlinkMessage& m, uint16_t attribute, std::string_view bytes) {
  m.nest(attribute, [&] { m.put(NFTA_DATA_VALUE, bytes.data(), bytes.size()); });
}

void put_verdict(NetlinkMessage& m, uint16_t attribute, int32_t code, std::string_view chain) {
  m.nest(attribute, [&] {
    m.nest(NFTA_DATA_VERDICT, [&] {
      m.put_be32(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
      if (!chain.empty()) m.put_string(NFTA_VERDICT_CHAIN, chain);
    });
  });
}

// One netlink attribute holds at most 64 KiB, so elements go in several messages.
constexpr size_t kElementsPerMessage = 400;

}  // namespace

NftRule& NftRule::add(const char* name, std::function<void(NetlinkMessage&)> data) {
  expressions_.push_back([name, data = std::move(data)](NetlinkMessage& m) {
    m.nest(NFTA_LIST_ELEM, [&] {
      m.put_string(NFTA_EXPR_NAME, name);
      m.nest(NFTA_EXPR_DATA, [&] { data(m); });
    });
  });
  return *this;
}

NftRule& NftRule::meta(uint32_t key, Reg to) {
  return add("meta", [=](NetlinkMessage& m) {
    m.put_be32(NFTA_META_KEY, key);
    m.put_be32(NFTA_META_DREG, reg32(to));
  });
}

NftRule& NftRule::set_meta(uint32_t key, Reg from) {
  return add("meta", [=](NetlinkMessage& m) {
    m.put_be32(NFTA_META_KEY, key);
    m.put_be32(NFTA_META_SREG, reg32(from));
  });
}

NftRule& NftRule::payload(uint32_t base, uint32_t offset, uint32_t length, Reg to) {
  return add("payload", [=](NetlinkMessage& m) {
    m.put_be32(NFTA_PAYLOAD_DREG, reg32(to));
    m.put_be32(NFTA_PAYLOAD_BASE, base);
    m.put_be32(NFTA_PAYLOAD_OFFSET, offset);
    m.put_be32(NFTA_PAYLOAD_LEN, length);
  });
}

NftRule& NftRule::ct(uint32_t key, Reg to) {
  return add("ct", [=](NetlinkMessage& m) {
    m.put_be32(NFTA_CT_KEY, key);
    m.put_be32(NFTA_CT_DREG, reg32(to));
  });
}

NftRule& NftRule::fib_address_type(Reg to, bool of_source) {
  return add("fib", [=](NetlinkMessage& m) {
    m.put_be32(NFTA_FIB_DREG, reg32(to));
    m.put_be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    m.put_be32(NFTA_FIB_FLAGS, of_source ? NFTA_FIB_F_SADDR : NFTA_FIB_F_DADDR);
  });
}

NftRule& NftRule::immediate(Reg to, std::string_view bytes) {
  return add("immediate", [=, bytes = std::string(bytes)](NetlinkMessage& m) {
    m.put_be32(NFTA_IMMEDIATE_DREG, reg32(to));
    put_data(m, NFTA_IMMEDIATE_DATA, bytes);
  });
}

NftRule& NftRule::bitwise_and(Reg from, Reg to, std::string_view mask) {
  return add("bitwise", [=, mask = std::string(mask)](NetlinkMessage& m) {
    m.put_be32(NFTA_BITWISE_SREG, reg32(from));
    m.put_be32(NFTA_BITWISE_DREG, reg32(to));
    m.put_be32(NFTA_BITWISE_LEN, static_cast<uint32_t>(mask.size()));
    put_data(m, NFTA_BITWISE_MASK, mask);
    put_data(m, NFTA_BITWISE_XOR, std::string(mask.size(), '\0'));
  });
}

// a | bits is (a & ~bits) ^ bits.
NftRule& NftRule::bitwise_or(Reg from, Reg to, std::string_view bits) {
  return add("bitwise", [=, bits = std::string(bits)](NetlinkMessage& m) {
    std::string mask = bits;
    for (char& c : mask) c = static_cast<char>(~c);
    m.put_be32(NFTA_BITWISE_SREG, reg32(from));
    m.put_be32(NFTA_BITWISE_DREG, reg32(to));
    m.put_be32(NFTA_BITWISE_LEN, static_cast<uint32_t>(bits.size()));
    put_data(m, NFTA_BITWISE_MASK, mask);
    put_data(m, NFTA_BITWISE_XOR, bits);
  });
}

NftRule& NftRule::compare(uint32_t op, Reg from, std::string_view bytes) {
  return add("cmp", [=, bytes = std::string(bytes)](NetlinkMessage& m) {
    m.put_be32(NFTA_CMP_SREG, reg32(from));
    m.put_be32(NFTA_CMP_OP, op);
    put_data(m, NFTA_CMP_DATA, bytes);
  });
}

NftRule& NftRule::random(uint32_t modulus, Reg to) {
  return add("numgen", [=](NetlinkMessage& m) {
    m.put_be32(NFTA_NG_DREG, reg32(to));
    m.put_be32(NFTA_NG_MODULUS, modulus);
    m.put_be32(NFTA_NG_TYPE, NFT_NG_RANDOM);
    m.put_be32(NFTA_NG_OFFSET, 0);
  });
}

NftRule& NftRule::lookup(std::string_view set, Reg key, bool inverted) {
  return add("lookup", [=, set = std::string(set)](NetlinkMessage& m) {
    m.put_string(NFTA_LOOKUP_SET, set);
    m.put_be32(NFTA_LOOKUP_SREG, reg32(key));
    if (inverted) m.put_be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  });
}

NftRule& NftRule::lookup_map(std::string_view map, Reg key, Reg to) {
  return add("lookup", [=, map = std::string(map)](NetlinkMessage& m) {
    m.put_string(NFTA_LOOKUP_SET, map);
    m.put_be32(NFTA_LOOKUP_SREG, reg32(key));
    m.put_be32(NFTA_LOOKUP_DREG, reg32(to));
  });
}

NftRule& NftRule::lookup_verdict(std::string_view map, Reg key) {
  return add("lookup", [=, map = std::string(map)](NetlinkMessage& m) {
    m.put_string(NFTA_LOOKUP_SET, map);
    m.put_be32(NFTA_LOOKUP_SREG, reg32(key));
    m.put_be32(NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
  });
}

NftRule& NftRule::update_map(std::string_view map, Reg key, Reg data, uint64_t timeout_ms) {
  return add("dynset", [=, map = std::string(map)](NetlinkMessage& m) {
    m.put_string(NFTA_DYNSET_SET_NAME, map);
    m.put_be32(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    m.put_be32(NFTA_DYNSET_SREG_KEY, reg32(key));
    m.put_be32(NFTA_DYNSET_SREG_DATA, reg32(data));
    m.put_be64(NFTA_DYNSET_TIMEOUT, timeout_ms);
  });
}

// The kernel asks for a data register even where it reads none.
NftRule& NftRule::remove_from_map(std::string_view map, Reg key, Reg data) {
  return add("dynset", [=, map = std::string(map)](NetlinkMessage& m) {
    m.put_string(NFTA_DYNSET_SET_NAME, map);
    m.put_be32(NFTA_DYNSET_OP, NFT_DYNSET_OP_DELETE);
    m.put_be32(NFTA_DYNSET_SREG_KEY, reg32(key));
    m.put_be32(NFTA_DYNSET_SREG_DATA, reg32(data));
  });
}

NftRule& NftRule::dnat(Reg address, Reg port) {
  return add("nat", [=](NetlinkMessage& m) {
    m.put_be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
    m.put_be32(NFTA_NAT_FAMILY, NFPROTO_IPV4);
    m.put_be32(NFTA_NAT_REG_ADDR_MIN, reg32(address));
    m.put_be32(NFTA_NAT_REG_PROTO_MIN, reg32(port));
  });
}

NftRule& NftRule::masquerade() {
  return add("masq", [](NetlinkMessage&) {});
}

NftRule& NftRule::reject_tcp_reset() {
  return add("reject", [](NetlinkMessage& m) {
    m.put_be32(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
    m.put_u8(NFTA_REJECT_ICMP_CODE, 0);
  });
}

NftRule& NftRule::reject_port_unreachable() {
  return add("reject", [](NetlinkMessage& m) {
    m.put_be32(NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
    m.put_u8(NFTA_REJECT_ICMP_CODE, 3);
  });
}

NftRule& NftRule::verdict(int32_t code, std::string_view chain) {
  return add("immediate", [=, chain = std::string(chain)](NetlinkMessage& m) {
    m.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    put_verdict(m, NFTA_IMMEDIATE_DATA, code, chain);
  });
}

void NftTransaction::begin(uint16_t type, uint16_t flags) {
  if (!opened_) {
    message_.begin(NFNL_MSG_BATCH_BEGIN, 0, batch_header());
    opened_ = true;
  }
  message_.begin(type_of(type), flags | NLM_F_ACK, header(NFPROTO_IPV4));
  ++operations_;
}

void NftTransaction::add_table(std::string_view user_data) {
  begin(NFT_MSG_NEWTABLE, NLM_F_CREATE);
  message_.put_string(NFTA_TABLE_NAME, table_);
  if (!user_data.empty()) message_.put(NFTA_TABLE_USERDATA, user_data.data(), user_data.size());
}

void NftTransaction::delete_table() {
  begin(NFT_MSG_DELTABLE, 0);
  message_.put_string(NFTA_TABLE_NAME, table_);
}

void NftTransaction::add_chain(const std::string& name, const NftHook* hook) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  message_.put_string(NFTA_CHAIN_TABLE, table_);
  message_.put_string(NFTA_CHAIN_NAME, name);
  if (hook == nullptr) return;
  message_.nest(NFTA_CHAIN_HOOK, [&] {
    message_.put_be32(NFTA_HOOK_HOOKNUM, hook->hook);
    message_.put_be32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(hook->priority));
  });
  message_.put_string(NFTA_CHAIN_TYPE, hook->type);
}

void NftTransaction::flush_chain(const std::string& name) {
  begin(NFT_MSG_DELRULE, 0);
  message_.put_string(NFTA_RULE_TABLE, table_);
  message_.put_string(NFTA_RULE_CHAIN, name);
}

void NftTransaction::delete_chain(const std::string& name) {
  begin(NFT_MSG_DELCHAIN, 0);
  message_.put_string(NFTA_CHAIN_TABLE, table_);
  message_.put_string(NFTA_CHAIN_NAME, name);
}

void NftTransaction::add_rule(const std::string& chain, const NftRule& rule) {
  begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  message_.put_string(NFTA_RULE_TABLE, table_);
  message_.put_string(NFTA_RULE_CHAIN, chain);
  message_.nest(NFTA_RULE_EXPRESSIONS, [&] {
    for (const auto& expression : rule.expressions()) expression(message_);
  });
}

void NftTransaction::add_set(const NftSet& set) {
  begin(NFT_MSG_NEWSET, NLM_F_CREATE);
  message_.put_string(NFTA_SET_TABLE, table_);
  message_.put_string(NFTA_SET_NAME, set.name);
  uint32_t flags = (set.map ? NFT_SET_MAP : 0) | (set.dynamic ? NFT_SET_EVAL : 0) | (set.timeout ? NFT_SET_TIMEOUT : 0);
  message_.put_be32(NFTA_SET_FLAGS, flags);
  message_.put_be32(NFTA_SET_KEY_TYPE, set.key_type);
  message_.put_be32(NFTA_SET_KEY_LEN, set.key_bytes);
  if (set.map) {
    message_.put_be32(NFTA_SET_DATA_TYPE, set.verdict ? static_cast<uint32_t>(NFT_DATA_VERDICT) : set.data_type);
    message_.put_be32(NFTA_SET_DATA_LEN, set.verdict ? 16 : set.data_bytes);
  }
  if (set.size > 0) message_.nest(NFTA_SET_DESC, [&] { message_.put_be32(NFTA_SET_DESC_SIZE, set.size); });
  message_.put_be32(NFTA_SET_ID, ++set_id_);
}

void NftTransaction::flush_set(const std::string& set) {
  begin(NFT_MSG_DELSETELEM, 0);
  message_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
  message_.put_string(NFTA_SET_ELEM_LIST_SET, set);
}

void NftTransaction::element_message(uint16_t type, uint16_t flags, const std::string& set,
                                     const std::vector<NftElement>& elements, bool with_data) {
  for (size_t first = 0; first < elements.size(); first += kElementsPerMessage) {
    begin(type, flags);
    message_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
    message_.put_string(NFTA_SET_ELEM_LIST_SET, set);
    message_.nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
      for (size_t i = first; i < std::min(elements.size(), first + kElementsPerMessage); ++i) {
        const NftElement& e = elements[i];
        message_.nest(NFTA_LIST_ELEM, [&] {
          put_data(message_, NFTA_SET_ELEM_KEY, e.key);
          if (!with_data) return;
          if (!e.verdict_chain.empty())
            put_verdict(message_, NFTA_SET_ELEM_DATA, NFT_GOTO, e.verdict_chain);
          else if (!e.data.empty())
            put_data(message_, NFTA_SET_ELEM_DATA, e.data);
        });
      }
    });
  }
}

void NftTransaction::add_elements(const std::string& set, const std::vector<NftElement>& elements) {
  element_message(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements, true);
}

void NftTransaction::delete_elements(const std::string& set, const std::vector<NftElement>& elements) {
  element_message(NFT_MSG_DELSETELEM, 0, set, elements, false);
}

Result<void> NftTransaction::commit(NetlinkSocket& socket, std::string_view what) {
  if (operations_ == 0) return {};
  message_.begin(NFNL_MSG_BATCH_END, 0, batch_header());
  return socket.batch(message_, operations_, what);
}

std::string nft_key(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (std::string_view p : parts) {
    out += p;
    out.append((4 - p.size() % 4) % 4, '\0');
  }
  return out;
}

std::string be32_bytes(uint32_t host_order) {
  uint32_t be = htonl(host_order);
  return {reinterpret_cast<const char*>(&be), sizeof be};
}

std::string be16_bytes(uint16_t host_order) {
  uint16_t be = htons(host_order);
  return {reinterpret_cast<const char*>(&be), sizeof be};
}

std::string host16_bytes(uint16_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

std::string host32_bytes(uint32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

uint32_t nft_type(std::initializer_list<uint32_t> types) {
  uint32_t out = 0;
  for (uint32_t t : types) out = out << 6 | t;
  return out;
}

}  // namespace kcube::net
