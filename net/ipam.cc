#include "net/ipam.h"

#include "pkg/base/file.h"

namespace kcube::net {

Result<Ipam> Ipam::open(std::string directory, Prefix range) {
  if (auto r = file::make_dirs(directory, 0700); !r) return fail(r.error());
  Ipam ipam(std::move(directory), range);
  auto names = file::list(ipam.directory_);
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    auto ip = parse_ipv4(name);
    auto owner = file::read(ipam.directory_ + "/" + name, 4096);
    // Another range, or a file half written when the machine went down.
    if (!ip || !range.contains(*ip) || !owner || owner->empty()) {
      (void)file::remove(ipam.directory_ + "/" + name);
      continue;
    }
    ipam.by_owner_[*owner] = *ip;
    ipam.by_address_[*ip] = *owner;
    if (*ip >= ipam.next_) ipam.next_ = *ip + 1;
  }
  return ipam;
}

Result<uint32_t> Ipam::allocate(const std::string& id) {
  if (uint32_t known = address_of(id)) return known;
  uint32_t first = range_.address + 2, last = range_.last() - 1;
  for (uint32_t tried = 0; tried <= last - first; ++tried) {
    if (next_ > last || next_ < first) next_ = first;
    uint32_t ip = next_++;
    if (by_address_.contains(ip)) continue;
    if (auto r = file::write(directory_ + "/" + format_ipv4(ip), id, 0600); !r) return fail(r.error());
    by_address_[ip] = id;
    by_owner_[id] = ip;
    return ip;
  }
  return fail(Status(507, "InsufficientStorage",
                     "no free pod address in " + format_ipv4(range_.address) + "/" + std::to_string(range_.length)));
}

Result<void> Ipam::release(const std::string& id) {
  auto it = by_owner_.find(id);
  if (it == by_owner_.end()) return {};
  if (auto r = file::remove(directory_ + "/" + format_ipv4(it->second)); !r) return r;
  by_address_.erase(it->second);
  by_owner_.erase(it);
  return {};
}

std::vector<std::string> Ipam::owners() const {
  std::vector<std::string> out;
  for (const auto& [owner, ip] : by_owner_) out.push_back(owner);
  return out;
}

uint32_t Ipam::address_of(const std::string& id) const {
  auto it = by_owner_.find(id);
  return it == by_owner_.end() ? 0 : it->second;
}

}  // namespace kcube::net
