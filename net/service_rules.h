// Pieces of rules that the service table's files share: registers and keys.
#pragma once

#include <netinet/in.h>

#include <string>

#include "net/network.h"
#include "net/nft.h"

namespace kcube::net::rules {

// What nft shows for the keys; the kernel looks at lengths only.
inline constexpr uint32_t kIpv4 = 7, kProto = 12, kPort = 13, kMark = 19;
inline constexpr uint32_t kMasqueradeMark = 0x4000;  // as kube-proxy's

// Registers: the key of `ep` in 0…3 and its data in 4 and 5; a remembered endpoint in 3 and 4, so that 0…4 is its key
// in `live`; scratch and the key of `aff` from 8 on.
inline constexpr NftRule::Reg kAddress = 0, kProtocol = 1, kDport = 2, kIndex = 3, kRemembered = 3, kData = 4,
                              kScratch = 8, kAffinityKey = 8;

inline std::string byte(uint8_t b) { return std::string(1, static_cast<char>(b)); }
inline std::string proto_bytes(Protocol p) { return byte(static_cast<uint8_t>(p)); }
inline std::string destination_key(uint32_t ip, Protocol p, uint16_t port) {
  return nft_key({be32_bytes(ip), proto_bytes(p), be16_bytes(port)});
}
inline std::string target_bytes(uint32_t ip, uint16_t port) { return nft_key({be32_bytes(ip), be16_bytes(port)}); }

}  // namespace kcube::net::rules
