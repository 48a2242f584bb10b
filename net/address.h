// IPv4 addresses and prefixes.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <optional>
#include <string>

#include "pkg/base/strings.h"

namespace kcube::net {

// Host byte order, for arithmetic.
inline std::optional<uint32_t> parse_ipv4(const std::string& text) {
  in_addr a{};
  if (::inet_pton(AF_INET, text.c_str(), &a) != 1) return std::nullopt;
  return ntohl(a.s_addr);
}

inline std::string format_ipv4(uint32_t host_order) {
  in_addr a{htonl(host_order)};
  char buffer[INET_ADDRSTRLEN];
  ::inet_ntop(AF_INET, &a, buffer, sizeof buffer);
  return buffer;
}

struct Prefix {
  uint32_t address = 0;  // host order, masked
  uint8_t length = 0;
  uint32_t mask() const { return length == 0 ? 0 : ~uint32_t{0} << (32 - length); }
  bool contains(uint32_t ip) const { return (ip & mask()) == address; }
  bool overlaps(const Prefix& other) const { return contains(other.address) || other.contains(address); }
  uint32_t last() const { return address | ~mask(); }
};

inline std::optional<Prefix> parse_prefix(const std::string& text) {
  size_t slash = text.find('/');
  auto ip = parse_ipv4(text.substr(0, slash));
  auto length = slash == std::string::npos ? std::optional<uint8_t>(32) : parse_int<uint8_t>(text.substr(slash + 1));
  if (!ip || !length || *length > 32) return std::nullopt;
  Prefix p{*ip, *length};
  p.address &= p.mask();
  return p;
}

}  // namespace kcube::net
