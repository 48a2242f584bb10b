// nf_tables spoken over netlink: transactions of tables, chains, rules, maps and elements, without libnftables.
// A rule is a list of expressions on registers, as `nft --debug=netlink` prints them. Registers here are the 32-bit
// ones, numbered from 0. Source: linux/netfilter/nf_tables.h, the nftables wiki.
#pragma once

#include <linux/netfilter/nf_tables.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "net/netlink.h"

namespace kcube::net {

// The expressions of one rule.
class NftRule {
 public:
  using Reg = uint32_t;
  NftRule& meta(uint32_t key, Reg to);  // NFT_META_*
  NftRule& set_meta(uint32_t key, Reg from);
  NftRule& payload(uint32_t base, uint32_t offset, uint32_t length, Reg to);  // NFT_PAYLOAD_*_HEADER
  NftRule& ct(uint32_t key, Reg to);                                          // NFT_CT_*
  NftRule& fib_address_type(Reg to, bool of_source);                          // RTN_LOCAL, …
  NftRule& immediate(Reg to, std::string_view bytes);
  NftRule& bitwise_and(Reg from, Reg to, std::string_view mask);
  NftRule& bitwise_or(Reg from, Reg to, std::string_view bits);
  NftRule& compare(uint32_t op, Reg from, std::string_view bytes);        // NFT_CMP_*
  NftRule& random(uint32_t modulus, Reg to);                              // numgen random, host byte order
  NftRule& lookup(std::string_view set, Reg key, bool inverted = false);  // matches when the key is there
  NftRule& lookup_map(std::string_view map, Reg key, Reg to);             // loads the data; ends the rule when absent
  NftRule& lookup_verdict(std::string_view map, Reg key);
  // Adds the element or renews its time; the data of one that is there stays: remove it first to replace it.
  NftRule& update_map(std::string_view map, Reg key, Reg data, uint64_t timeout_ms);
  NftRule& remove_from_map(std::string_view map, Reg key, Reg data);
  NftRule& dnat(Reg address, Reg port);
  NftRule& masquerade();
  NftRule& reject_tcp_reset();
  NftRule& reject_port_unreachable();
  NftRule& verdict(int32_t code, std::string_view chain = {});  // NF_ACCEPT, NFT_JUMP, NFT_GOTO, …
  NftRule& accept() { return verdict(1); }

  using Expression = std::function<void(NetlinkMessage&)>;
  const std::vector<Expression>& expressions() const { return expressions_; }

 private:
  NftRule& add(const char* name, std::function<void(NetlinkMessage&)> data);
  std::vector<Expression> expressions_;
};

struct NftHook {
  std::string type;   // "nat", "filter"
  uint32_t hook = 0;  // NF_INET_PRE_ROUTING, …
  int32_t priority = 0;
};

struct NftSet {
  std::string name;
  uint32_t key_type = 0, key_bytes = 0;
  uint32_t data_type = 0, data_bytes = 0;  // of a map; NFT_DATA_VERDICT for verdict maps
  uint32_t size = 0;                       // elements at most; 0: unbounded
  bool map = false, verdict = false, dynamic = false, timeout = false;
};

struct NftElement {
  std::string key;
  std::string data;           // of a map
  std::string verdict_chain;  // of a verdict map: goto
};

// One atomic change. Objects are named within the transaction's table (family ip).
class NftTransaction {
 public:
  explicit NftTransaction(std::string table) : table_(std::move(table)) {}
  void add_table(std::string_view user_data = {});
  void delete_table();
  void add_chain(const std::string& name, const NftHook* hook = nullptr);
  void flush_chain(const std::string& name);
  void delete_chain(const std::string& name);
  void add_rule(const std::string& chain, const NftRule& rule);
  void add_set(const NftSet& set);
  void flush_set(const std::string& set);
  void add_elements(const std::string& set, const std::vector<NftElement>& elements);
  void delete_elements(const std::string& set, const std::vector<NftElement>& elements);
  bool empty() const { return operations_ == 0; }
  // All or nothing. `what` names the change in errors.
  Result<void> commit(NetlinkSocket& socket, std::string_view what);

 private:
  void begin(uint16_t type, uint16_t flags);
  void element_message(uint16_t type, uint16_t flags, const std::string& set, const std::vector<NftElement>& elements,
                       bool with_data);
  std::string table_;
  NetlinkMessage message_;
  bool opened_ = false;
  size_t operations_ = 0;
  uint32_t set_id_ = 0;
};

// Keys of concatenated types: each part padded to four bytes.
std::string nft_key(std::initializer_list<std::string_view> parts);
std::string be32_bytes(uint32_t host_order);
std::string be16_bytes(uint16_t host_order);
std::string host16_bytes(uint16_t value);
std::string host32_bytes(uint32_t value);
// Type numbers that `nft list` shows: 7 ipv4_addr, 12 inet_proto, 13 inet_service, 19 mark; concatenated in 6 bits
// each.
uint32_t nft_type(std::initializer_list<uint32_t> types);

}  // namespace kcube::net
