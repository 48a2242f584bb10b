// The host's resolvers. Source: resolv.conf(5).
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

namespace kcube::dns {

struct ResolvConf {
  std::vector<std::string> servers;  // addresses
  int timeout_seconds = 2, attempts = 2;
};

// Addresses in `skip` (our own) are left out: asking them would go round in circles.
ResolvConf parse_resolv_conf(std::string_view text, const std::vector<std::string>& skip);

// Reads the file again whenever it is another one or has changed. One thread.
class ResolvConfFile {
 public:
  ResolvConfFile(std::string path, std::vector<std::string> skip) : path_(std::move(path)), skip_(std::move(skip)) {}
  // A missing file has no servers.
  const ResolvConf& current();

 private:
  const std::string path_;
  const std::vector<std::string> skip_;
  struct stat seen_ {};
  ResolvConf conf_;
};

}  // namespace kcube::dns
