// Addresses of this node's pods, remembered on disk: one file an address, its content the owner's id.
// Given out in turn, so that an address just freed is the last to come again. Not thread-safe: the owner locks.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "net/address.h"
#include "pkg/base/status.h"

namespace kcube::net {

class Ipam {
 public:
  // Reads what `directory` remembers. The first address of `range` is the gateway's, network and broadcast are skipped.
  static Result<Ipam> open(std::string directory, Prefix range);
  // The address of `id`, the same one when it has one already. 507 when all are taken.
  Result<uint32_t> allocate(const std::string& id);
  Result<void> release(const std::string& id);
  std::vector<std::string> owners() const;
  uint32_t gateway() const { return range_.address + 1; }
  // 0 when unknown.
  uint32_t address_of(const std::string& id) const;

 private:
  Ipam(std::string directory, Prefix range)
      : directory_(std::move(directory)), range_(range), next_(range.address + 2) {}
  std::string directory_;
  Prefix range_;
  uint32_t next_;
  std::map<std::string, uint32_t> by_owner_;
  std::map<uint32_t, std::string> by_address_;
};

}  // namespace kcube::net
