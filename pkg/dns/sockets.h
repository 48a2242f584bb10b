// Socket addresses of DNS, IPv4 and IPv6.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

#include "pkg/base/status.h"

namespace kcube::dns {

inline constexpr uint16_t kDnsPort = 53;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }

  static Result<SocketAddress> make(const std::string& ip, uint16_t port) {
    SocketAddress out;
    sockaddr_in four{};
    sockaddr_in6 six{};
    if (::inet_pton(AF_INET, ip.c_str(), &four.sin_addr) == 1) {
      four.sin_family = AF_INET;
      four.sin_port = htons(port);
      std::memcpy(&out.storage, &four, out.size = sizeof four);
      return out;
    }
    if (::inet_pton(AF_INET6, ip.c_str(), &six.sin6_addr) == 1) {
      six.sin6_family = AF_INET6;
      six.sin6_port = htons(port);
      std::memcpy(&out.storage, &six, out.size = sizeof six);
      return out;
    }
    return fail(Status::bad_request("\"" + ip + "\" is no address"));
  }
};

}  // namespace kcube::dns
