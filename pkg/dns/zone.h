// What the cluster's own names mean: records by name, kept incrementally, one list of records an owner (a service).
// Thread-safe: many readers, one writer.
#pragma once

#include <atomic>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pkg/dns/message.h"

namespace kcube::dns {

inline constexpr uint32_t kTtl = 5;

struct ZoneAnswer {
  enum class Kind { found, no_data, no_name, not_ours };
  Kind kind = Kind::not_ours;
  std::vector<Record> answers, additionals;
  std::string soa_of;       // of no_data and no_name: the zone that says so
  std::string continue_at;  // an alias led out of our zones: this name is to be asked elsewhere
};

class Zone {
 public:
  // `domain` is the cluster's, "cluster.local"; `servers` are our addresses; `node_ip` answers host.kcube.internal.
  Zone(const std::string& domain, const std::vector<std::string>& servers, const std::string& node_ip);

  // Replaces what `owner` said before. Names outside of our zones are for reverse look-ups only.
  void set(const std::string& owner, std::vector<Record> records);

  // Follows aliases within our zones. `name` is in lower case.
  ZoneAnswer lookup(std::string_view name, uint16_t type) const;
  // The record of authority for a zone that lookup() named.
  Record soa(std::string_view zone) const;
  const std::string& domain() const { return domain_; }  // wire form
  size_t names() const;

 private:
  struct Node {
    std::vector<Record> records;
    size_t below = 0;  // names with records beneath: those without own records exist too (RFC 8020)
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  template <typename T>
  using Map = std::unordered_map<std::string, T, Hash, std::equal_to<>>;

  void insert(const Record& record);
  void erase(const Record& record);
  void count_below(std::string_view name, int change);
  const Node* find(std::string_view name) const;
  bool synthesize_pod(std::string_view name, uint16_t type, ZoneAnswer& out) const;
  void add_targets(ZoneAnswer& answer) const;
  std::string_view zone_of(std::string_view name) const;

  const std::string domain_, pods_, internal_;  // wire form
  mutable std::shared_mutex mutex_;
  Map<Node> nodes_;
  std::unordered_map<std::string, std::vector<Record>> owned_;
  mutable std::atomic<uint32_t> turn_{0};
};

}  // namespace kcube::dns
