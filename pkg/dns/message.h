// DNS messages: names, records, reading with care and writing with compression and truncation.
//
// Names are kept as on the wire (length-prefixed labels and the empty root label), so that no byte needs escaping; they
// compare after lower(). Record data holds names uncompressed. Source: RFC 1035, 2181, 2782, 3597, 6891.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/status.h"

namespace kcube::dns {

namespace type {
inline constexpr uint16_t kA = 1, kNs = 2, kCname = 5, kSoa = 6, kPtr = 12, kMx = 15, kTxt = 16, kAaaa = 28, kSrv = 33,
                          kOpt = 41, kIxfr = 251, kAxfr = 252, kAny = 255;
}
namespace rcode {
inline constexpr uint16_t kNoError = 0, kFormErr = 1, kServFail = 2, kNxDomain = 3, kNotImp = 4, kRefused = 5,
                          kBadVers = 16;
}
inline constexpr uint16_t kClassIn = 1, kClassAny = 255;
inline constexpr size_t kHeaderBytes = 12, kMaxName = 255, kMaxMessage = 65535;

struct Question {
  std::string name;  // as asked, letter case included
  uint16_t type = 0, klass = kClassIn;
};

struct Record {
  std::string name;
  uint16_t type = 0, klass = kClassIn;
  uint32_t ttl = 0;
  std::string data;
  auto operator<=>(const Record&) const = default;
};

// What EDNS adds. Options are not kept.
struct Edns {
  uint16_t udp_size = 512;
  uint8_t version = 0;
  bool dnssec_ok = false;
};

struct Message {
  uint16_t id = 0;
  bool response = false, authoritative = false, truncated = false, recursion_desired = false,
       recursion_available = false, authentic = false, checking_disabled = false;
  uint8_t opcode = 0;
  uint16_t code = 0;  // with EDNS' upper bits
  std::vector<Question> questions;
  std::vector<Record> answers, authorities, additionals;  // without the OPT record
  std::optional<Edns> edns;
};

// 400 with the reason when `bytes` is no whole message. A query with a good header but bad rest can be answered
// FORMERR.
Result<Message> parse(std::string_view bytes);
// At most `limit` bytes: when not all fits, additional records are left out, then authorities, then answers with TC
// set.
std::string encode(const Message& message, size_t limit = kMaxMessage);

// "web.default.svc.cluster.local" (a final dot is allowed) to wire form; nullopt when a label is empty or too long.
std::optional<std::string> to_name(std::string_view text);
// For logs and tests: "web.default.svc.cluster.local."; odd bytes as \DDD.
std::string to_text(std::string_view name);
std::string lower(std::string_view name);
// True for `zone` itself and everything below. Both lower case.
bool is_within(std::string_view name, std::string_view zone);
// Without its first label; the root stays the root.
std::string_view parent_of(std::string_view name);
std::string_view first_label(std::string_view name);

// Data of records.
std::string u16_bytes(uint16_t v);
std::string u32_bytes(uint32_t v);
// A or AAAA data and type for an address; nullopt when it is none.
std::optional<Record> address_record(std::string_view name, const std::string& ip, uint32_t ttl);
// The name that PTR records of `ip` stand at, empty when `ip` is no address.
std::string reverse_name(const std::string& ip);

}  // namespace kcube::dns
