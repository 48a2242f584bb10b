// Addresses and CIDRs: only those that everyone reads alike are taken.
#include <arpa/inet.h>

#include "pkg/apiserver/machinery/validation_network.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

struct Block {
  unsigned char bytes[16] = {};
  int family = 0, bits = 0;
};

Block block_of(std::string_view cidr) {
  Block block;
  size_t slash = cidr.find('/');
  std::string address(cidr.substr(0, slash));
  block.bits = parse_int<int>(cidr.substr(slash + 1)).value_or(0);
  block.family = inet_pton(AF_INET, address.c_str(), block.bytes) == 1 ? AF_INET : AF_INET6;
  if (block.family == AF_INET6) inet_pton(AF_INET6, address.c_str(), block.bytes);
  return block;
}

// Digits after the zeros that Go reads over and nobody else.
std::string without_leading_zeros(std::string_view cidr) {
  std::string out;
  for (size_t i = 0; i < cidr.size(); ++i) {
    const bool first = i == 0 || cidr[i - 1] == '.' || cidr[i - 1] == '/';
    if (first)
      while (i + 1 < cidr.size() && cidr[i] == '0' && cidr[i + 1] >= '0' && cidr[i + 1] <= '9') ++i;
    out += cidr[i];
  }
  return out;
}

// The address with nothing beyond the prefix, as everyone writes it.
std::string canonical_cidr(const Block& block) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(block.family, block.bytes, text, sizeof(text));
  return std::string(text) + "/" + std::to_string(block.bits);
}

bool bits_beyond_prefix(const Block& block) {
  const int size = block.family == AF_INET ? 32 : 128;
  for (int bit = block.bits; bit < size; ++bit)
    if (block.bytes[bit / 8] & (0x80 >> (bit % 8))) return true;
  return false;
}

bool mapped(std::string_view address) {
  in6_addr six;
  return inet_pton(AF_INET6, std::string(address).c_str(), &six) == 1 && IN6_IS_ADDR_V4MAPPED(&six);
}

}  // namespace

bool valid_ip_v4(std::string_view text) {
  in_addr address;
  return inet_pton(AF_INET, std::string(text).c_str(), &address) == 1;
}

bool valid_ip(std::string_view text) {
  in6_addr address;
  return valid_ip_v4(text) || inet_pton(AF_INET6, std::string(text).c_str(), &address) == 1;
}

bool check_ip(const Cursor& ip) {
  if (mapped(ip.text())) ip.invalid("must not be an IPv4-mapped IPv6 address");
  else if (valid_ip(ip.text())) return true;
  else if (valid_ip_v4(without_leading_zeros(ip.text()))) ip.invalid("must not have leading 0s");
  else ip.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  return false;
}

bool valid_cidr(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  std::string_view address = text.substr(0, slash), bits = text.substr(slash + 1);
  auto count = parse_int<int>(bits);
  if (!count || *count < 0 || (bits.size() > 1 && bits.front() == '0')) return false;
  return valid_ip_v4(address) ? *count <= 32 : valid_ip(address) && *count <= 128;
}

bool check_cidr(const Cursor& cidr) {
  const std::string plain = without_leading_zeros(cidr.text());
  if (!valid_cidr(plain)) cidr.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
  else if (plain != cidr.text()) cidr.invalid("must not have leading 0s in IP or prefix length");
  else if (mapped(plain.substr(0, plain.find('/')))) cidr.invalid("must not have an IPv4-mapped IPv6 address");
  else if (bits_beyond_prefix(block_of(plain))) cidr.invalid("must not have bits set beyond the prefix length");
  else return true;
  return false;
}

bool check_canonical_cidr(const Cursor& cidr) {
  if (!check_cidr(cidr)) return false;
  const std::string canonical = canonical_cidr(block_of(cidr.text()));
  if (canonical != cidr.text()) cidr.invalid("must be in canonical form (\"" + canonical + "\")");
  return canonical == cidr.text();
}

bool strictly_within(std::string_view inner, std::string_view outer) {
  Block in = block_of(inner), out = block_of(outer);
  if (in.family != out.family || in.bits <= out.bits) return false;
  for (int bit = 0; bit < out.bits; ++bit) {
    int mask = 0x80 >> (bit % 8);
    if ((in.bytes[bit / 8] & mask) != (out.bytes[bit / 8] & mask)) return false;
  }
  return true;
}

bool same_family(std::string_view a, std::string_view b) { return block_of(a).family == block_of(b).family; }

}  // namespace kcube::machinery
