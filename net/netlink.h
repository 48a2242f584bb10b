// Netlink in the small: build a message, send it, read acknowledgements or a dump. One builder serves rtnetlink (links,
// addresses, routes), nf_tables and conntrack. Source: netlink(7), rtnetlink(7), linux/netfilter/nf_tables.h.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::net {

// One or several messages in a row. Attributes are appended to the last message.
class NetlinkMessage {
 public:
  // Begins a message; `header` is the family's own (ifinfomsg, nfgenmsg, …).
  template <typename Header>
  NetlinkMessage& begin(uint16_t type, uint16_t flags, const Header& header) {
    begin_raw(type, flags, &header, sizeof header);
    return *this;
  }
  void put(uint16_t attribute, const void* data, size_t size);
  void put_string(uint16_t attribute, std::string_view text);  // with its terminating zero
  void put_u8(uint16_t attribute, uint8_t v) { put(attribute, &v, sizeof v); }
  void put_u16(uint16_t attribute, uint16_t v) { put(attribute, &v, sizeof v); }
  void put_u32(uint16_t attribute, uint32_t v) { put(attribute, &v, sizeof v); }
  void put_be32(uint16_t attribute, uint32_t v);
  void put_be64(uint16_t attribute, uint64_t v);
  // Everything that `body` appends stands inside the attribute.
  void nest(uint16_t attribute, const std::function<void()>& body);
  // Bytes without an attribute header, e.g. the ifinfomsg of a veth peer.
  void raw(const void* data, size_t size);

  const std::string& bytes();
  size_t count() const { return count_; }
  size_t size() const { return buffer_.size(); }
  bool empty() const { return buffer_.empty(); }
  uint32_t last_sequence() const { return sequence_; }

 private:
  void begin_raw(uint16_t type, uint16_t flags, const void* header, size_t size);
  void finish();
  std::string buffer_;
  size_t start_ = 0;
  size_t count_ = 0;
  uint32_t sequence_ = 0;
};

// A received message: its type and the bytes after the family's header.
struct NetlinkReply {
  uint16_t type;
  std::string_view payload;  // header of the family and attributes
};

// Attributes in `bytes`, in order; stops at the first malformed one.
void for_each_attribute(std::string_view bytes, const std::function<void(uint16_t type, std::string_view data)>& visit);

class NetlinkSocket {
 public:
  // In the calling thread's network namespace; `protocol` is NETLINK_ROUTE or NETLINK_NETFILTER.
  static Result<NetlinkSocket> open(int protocol);
  // Sends one message with NLM_F_ACK and waits for its acknowledgement. `what` names the action in errors.
  Result<void> request(NetlinkMessage& message, std::string_view what);
  // Sends a dump request and hands over each reply.
  Result<void> dump(NetlinkMessage& message, std::string_view what,
                    const std::function<void(const NetlinkReply&)>& visit);
  // Sends a batch whose messages ask for no acknowledgement but the last before the end; the first error fails it.
  Result<void> batch(NetlinkMessage& messages, size_t acknowledged, std::string_view what);
  const Fd& fd() const { return fd_; }

 private:
  explicit NetlinkSocket(Fd fd) : fd_(std::move(fd)) {}
  Result<void> send(NetlinkMessage& message, std::string_view what);
  Fd fd_;
};

}  // namespace kcube::net
