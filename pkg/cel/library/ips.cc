// ip(), cidr() and what they offer. IPv4-mapped addresses and zones are refused, as in the API.
#include <arpa/inet.h>

#include <array>
#include <cstring>

#include "pkg/base/strings.h"
#include "pkg/cel/functions.h"
#include "pkg/cel/library/text.h"

namespace kcube::cel {

const TypeRef& ip_type() {
  static const TypeRef type = Type::opaque("net.IP");
  return type;
}
const TypeRef& cidr_type() {
  static const TypeRef type = Type::opaque("net.CIDR");
  return type;
}

namespace {

struct Address {
  std::array<unsigned char, 16> bytes{};
  int size = 0;                              // 4 or 16
  bool operator==(const Address&) const = default;
};

class IpValue final : public Opaque {
 public:
  explicit IpValue(Address address) : address(address) {}
  const Type& type() const override { return *ip_type(); }
  bool equals(const Opaque& other) const override { return address == static_cast<const IpValue&>(other).address; }
  uint64_t cost_size() const override { return static_cast<uint64_t>(address.size); }
  const Address address;
};

class CidrValue final : public Opaque {
 public:
  CidrValue(Address address, int bits) : address(address), bits(bits) {}
  const Type& type() const override { return *cidr_type(); }
  bool equals(const Opaque& other) const override {
    const auto& cidr = static_cast<const CidrValue&>(other);
    return address == cidr.address && bits == cidr.bits;
  }
  uint64_t cost_size() const override { return static_cast<uint64_t>((bits + 7) / 8); }
  const Address address;
  const int bits;
};

std::optional<Address> read_address(std::string_view text) {
  if (text.find('\0') != std::string_view::npos || text.size() > 64) return std::nullopt;
  std::string terminated(text);
  Address address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) return address.size = 4, address;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address.size = 16, address;
  return std::nullopt;
}

bool mapped(const Address& a) {
  static constexpr std::array<unsigned char, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return a.size == 16 && std::memcmp(a.bytes.data(), prefix.data(), prefix.size()) == 0;
}

// The address, or why it is none.
std::optional<Address> parse_ip(std::string_view text, std::string& error) {
  if (size_t zone = text.find('%'); zone != std::string_view::npos && read_address(text.substr(0, zone))) {
    error = "IP address " + quoted(text) + " with zone value is not allowed";
    return std::nullopt;
  }
  std::optional<Address> address = read_address(text);
  if (!address) error = "IP Address " + quoted(text) + " parse error during conversion from string: ParseAddr(" + quoted(text) + "): unable to parse IP";
  else if (mapped(*address)) error = "IPv4-mapped IPv6 address " + quoted(text) + " is not allowed", address.reset();
  return address;
}

std::string write_address(const Address& a) {
  std::string out;
  if (a.size == 4) {
    for (int i = 0; i < 4; ++i) out += (i ? "." : "") + std::to_string(a.bytes[i]);
    return out;
  }
  // The longest run of at least two zero groups is "::".
  std::array<int, 8> groups{};
  for (int i = 0; i < 8; ++i) groups[i] = a.bytes[2 * i] << 8 | a.bytes[2 * i + 1];
  int best = -1, best_length = 1;
  for (int i = 0; i < 8; ++i) {
    int length = 0;
    while (i + length < 8 && groups[i + length] == 0) ++length;
    if (length > best_length) best = i, best_length = length;
    i += length;
  }
  for (int i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::", i += best_length - 1;
      continue;
    }
    if (!out.empty() && !out.ends_with(':')) out += ':';
    char group[5];
    std::snprintf(group, sizeof group, "%x", groups[i]);
    out += group;
  }
  return out;
}

struct Cidr {
  Address address;
  int bits = 0;
};

std::optional<Cidr> parse_cidr(std::string_view text, std::string& error) {
  std::string prefix = "network address parse error during conversion from string: netip.ParsePrefix(" + quoted(text) + "): ";
  size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return error = prefix + "no '/'", std::nullopt;
  std::optional<Address> address = read_address(text.substr(0, slash));
  if (!address) return error = prefix + "ParseAddr(" + quoted(text.substr(0, slash)) + "): unable to parse IP", std::nullopt;
  std::string_view digits = text.substr(slash + 1);
  auto bits = parse_int<int>(digits);
  if (!bits || digits[0] == '-' || (digits.size() > 1 && digits[0] == '0')) return error = prefix + "bad bits after slash: " + quoted(digits), std::nullopt;
  if (*bits > address->size * 8) return error = prefix + "prefix length out of range", std::nullopt;
  if (mapped(*address)) return error = "network address parse error during conversion from string: IPv4-mapped IPv6 address " + quoted(text) + " is not allowed", std::nullopt;
  return Cidr{*address, *bits};
}

Address mask(Address a, int bits) {
  for (int i = 0; i < a.size; ++i) {
    int keep = std::clamp(bits - i * 8, 0, 8);
    a.bytes[i] &= static_cast<unsigned char>(0xff00 >> keep);
  }
  return a;
}
bool within(const CidrValue& cidr, const Address& a) { return a.size == cidr.address.size && mask(a, cidr.bits) == mask(cidr.address, cidr.bits); }

const Address& address_of(const Value& v) { return v.opaque_as<IpValue>()->address; }
const CidrValue& cidr_of(const Value& v) { return *v.opaque_as<CidrValue>(); }

Value ip(Arguments a, const Node&) {
  std::string error;
  auto address = parse_ip(a[0].as_text(), error);
  return address ? Value::opaque(new IpValue(*address)) : Value::failure(std::move(error));
}
Value is_ip(Arguments a, const Node&) {
  std::string error;
  return Value::boolean(parse_ip(a[0].as_text(), error).has_value());
}
Value is_canonical(Arguments a, const Node&) {
  std::string error;
  auto address = parse_ip(a[0].as_text(), error);
  return address ? Value::boolean(write_address(*address) == a[0].as_text()) : Value::failure(std::move(error));
}
Value ip_to_string(Arguments a, const Node&) { return Value::string(write_address(address_of(a[0]))); }
Value family(Arguments a, const Node&) { return Value::integer(address_of(a[0]).size == 4 ? 4 : 6); }

bool all_zero(const Address& a, int count) {
  for (int i = 0; i < count; ++i) if (a.bytes[i]) return false;
  return true;
}
bool unspecified(const Address& a) { return all_zero(a, a.size); }
bool loopback(const Address& a) { return a.size == 4 ? a.bytes[0] == 127 : all_zero(a, 15) && a.bytes[15] == 1; }
bool link_local_multicast(const Address& a) {
  return a.size == 4 ? a.bytes[0] == 224 && a.bytes[1] == 0 && a.bytes[2] == 0 : a.bytes[0] == 0xff && (a.bytes[1] & 0x0f) == 2;
}
bool link_local_unicast(const Address& a) { return a.size == 4 ? a.bytes[0] == 169 && a.bytes[1] == 254 : a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80; }
bool multicast(const Address& a) { return a.size == 4 ? (a.bytes[0] & 0xf0) == 0xe0 : a.bytes[0] == 0xff; }
bool global_unicast(const Address& a) {
  bool broadcast = a.size == 4 && a.bytes[0] == 255 && a.bytes[1] == 255 && a.bytes[2] == 255 && a.bytes[3] == 255;
  return !broadcast && !unspecified(a) && !loopback(a) && !multicast(a) && !link_local_unicast(a);
}
template <bool (*test)(const Address&)>
Value check(Arguments a, const Node&) { return Value::boolean(test(address_of(a[0]))); }

Value cidr(Arguments a, const Node&) {
  std::string error;
  auto parsed = parse_cidr(a[0].as_text(), error);
  return parsed ? Value::opaque(new CidrValue(parsed->address, parsed->bits)) : Value::failure(std::move(error));
}
Value is_cidr(Arguments a, const Node&) {
  std::string error;
  return Value::boolean(parse_cidr(a[0].as_text(), error).has_value());
}
Value cidr_to_string(Arguments a, const Node&) { return Value::string(write_address(cidr_of(a[0]).address) + "/" + std::to_string(cidr_of(a[0]).bits)); }
Value cidr_ip(Arguments a, const Node&) { return Value::opaque(new IpValue(cidr_of(a[0]).address)); }
Value prefix_length(Arguments a, const Node&) { return Value::integer(cidr_of(a[0]).bits); }
Value masked(Arguments a, const Node&) { return Value::opaque(new CidrValue(mask(cidr_of(a[0]).address, cidr_of(a[0]).bits), cidr_of(a[0]).bits)); }

Value contains_ip(Arguments a, const Node&) { return Value::boolean(within(cidr_of(a[0]), address_of(a[1]))); }
Value contains_ip_text(Arguments a, const Node&) {
  std::string error;
  auto address = parse_ip(a[1].as_text(), error);
  return address ? Value::boolean(within(cidr_of(a[0]), *address)) : Value::failure("no such overload");
}
Value contains_cidr(Arguments a, const Node&) {
  return Value::boolean(cidr_of(a[1]).bits >= cidr_of(a[0]).bits && within(cidr_of(a[0]), cidr_of(a[1]).address));
}
Value contains_cidr_text(Arguments a, const Node&) {
  std::string error;
  auto other = parse_cidr(a[1].as_text(), error);
  if (!other) return Value::failure(std::move(error));
  return Value::boolean(other->bits >= cidr_of(a[0]).bits && within(cidr_of(a[0]), other->address));
}

constexpr FunctionRow kRows[]{
    {"ip", "(string) ip", ip, CostRule::traverse},
    {"ip", ".(cidr) ip", cidr_ip},
    {"ip.isCanonical", "(string) bool", is_canonical, CostRule::traverse_twice},
    {"isIP", "(string) bool", is_ip, CostRule::traverse},
    {"string", "(ip) string", ip_to_string},
    {"family", ".(ip) int", family},
    {"isUnspecified", ".(ip) bool", check<unspecified>},
    {"isLoopback", ".(ip) bool", check<loopback>},
    {"isLinkLocalMulticast", ".(ip) bool", check<link_local_multicast>},
    {"isLinkLocalUnicast", ".(ip) bool", check<link_local_unicast>},
    {"isGlobalUnicast", ".(ip) bool", check<global_unicast>},
    {"cidr", "(string) cidr", cidr, CostRule::traverse},
    {"isCIDR", "(string) bool", is_cidr, CostRule::traverse},
    {"string", "(cidr) string", cidr_to_string},
    {"prefixLength", ".(cidr) int", prefix_length},
    {"masked", ".(cidr) cidr", masked},
    {"containsIP", ".(cidr, string) bool", contains_ip_text, CostRule::contains_ip_text},
    {"containsIP", ".(cidr, ip) bool", contains_ip, CostRule::contains_ip},
    {"containsCIDR", ".(cidr, string) bool", contains_cidr_text, CostRule::contains_cidr_text},
    {"containsCIDR", ".(cidr, cidr) bool", contains_cidr, CostRule::contains_cidr},
};

}  // namespace

std::span<const FunctionRow> ip_functions() { return kRows; }

}  // namespace kcube::cel
