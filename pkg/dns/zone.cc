#include "pkg/dns/zone.h"

#include <algorithm>
#include <mutex>

namespace kcube::dns {
namespace {

constexpr int kMaxAliases = 8;
constexpr std::string_view kSpecification = "1.1.0";

std::string name_of(const std::string& text) { return to_name(text).value_or(std::string(1, '\0')); }

std::string text_data(std::string_view text) { return static_cast<char>(text.size()) + std::string(text); }

bool asks_for(uint16_t wanted, uint16_t have) { return wanted == have || wanted == type::kAny; }

}  // namespace

Zone::Zone(const std::string& domain, const std::vector<std::string>& servers, const std::string& node_ip)
    : domain_(lower(name_of(domain))), pods_(lower(name_of("pod." + domain))), internal_(name_of("kcube.internal")) {
  std::string server = lower(name_of("ns.dns." + domain)), host = name_of("host.kcube.internal");
  std::vector<Record> own{
      {domain_, type::kNs, kClassIn, kTtl, server},
      soa(domain_),
      soa(internal_),
      {lower(name_of("dns-version." + domain)), type::kTxt, kClassIn, kTtl, text_data(kSpecification)}};
  for (const std::string& ip : servers)
    if (auto r = address_record(server, ip, kTtl)) own.push_back(*r);
  if (auto r = address_record(host, node_ip, kTtl)) own.push_back(*r);
  set("", std::move(own));
  count_below("\1x" + pods_, 1);  // exists although its names are made up when asked for
}

Record Zone::soa(std::string_view zone) const {
  std::string data = lower(name_of("ns.dns"));
  data.pop_back();
  data += domain_;
  data += "\012hostmaster" + domain_;
  for (uint32_t v : {1u, 7200u, 1800u, 86400u, kTtl}) data += u32_bytes(v);
  return {std::string(zone), type::kSoa, kClassIn, kTtl, data};
}

void Zone::set(const std::string& owner, std::vector<Record> records) {
  std::ranges::sort(records);
  std::unique_lock lock(mutex_);
  std::vector<Record>& have = owned_[owner];
  std::vector<Record> gone, fresh;
  std::ranges::set_difference(have, records, std::back_inserter(gone));
  std::ranges::set_difference(records, have, std::back_inserter(fresh));
  for (const Record& r : fresh) insert(r);
  for (const Record& r : gone) erase(r);
  have = std::move(records);
  if (have.empty()) owned_.erase(owner);
}

void Zone::count_below(std::string_view name, int change) {
  while (name.size() > 1) {
    name = parent_of(name);
    auto it = nodes_.find(name);
    if (it == nodes_.end()) it = nodes_.emplace(std::string(name), Node{}).first;
    it->second.below = static_cast<size_t>(static_cast<ptrdiff_t>(it->second.below) + change);
    if (it->second.below == 0 && it->second.records.empty()) nodes_.erase(it);
  }
}

void Zone::insert(const Record& record) {
  Node& node = nodes_[record.name];
  node.records.push_back(record);
  if (node.records.size() == 1) count_below(record.name, 1);
}

void Zone::erase(const Record& record) {
  auto it = nodes_.find(record.name);
  auto& records = it->second.records;
  records.erase(std::ranges::find(records, record));
  if (!records.empty()) return;
  count_below(record.name, -1);
  if (it->second.below == 0) nodes_.erase(it);
}

const Zone::Node* Zone::find(std::string_view name) const {
  auto it = nodes_.find(name);
  return it == nodes_.end() ? nullptr : &it->second;
}

size_t Zone::names() const {
  std::shared_lock lock(mutex_);
  return nodes_.size();
}

std::string_view Zone::zone_of(std::string_view name) const {
  if (is_within(name, domain_)) return domain_;
  if (is_within(name, internal_)) return internal_;
  return {};
}

// "1-2-3-4.default.pod.cluster.local" is 1.2.3.4 by its own word.
bool Zone::synthesize_pod(std::string_view name, uint16_t wanted, ZoneAnswer& out) const {
  std::string_view ns = parent_of(name);
  if (ns == pods_ || parent_of(ns) != pods_) return false;
  std::string label(first_label(name));
  for (char separator : {'.', ':'}) {
    std::string ip = label;
    std::ranges::replace(ip, '-', separator);
    auto record = address_record(name, ip, kTtl);
    if (!record) continue;
    out.kind = asks_for(wanted, record->type) ? ZoneAnswer::Kind::found : ZoneAnswer::Kind::no_data;
    if (out.kind == ZoneAnswer::Kind::found)
      out.answers.push_back(std::move(*record));
    else
      out.soa_of = domain_;
    return true;
  }
  return false;
}

ZoneAnswer Zone::lookup(std::string_view asked, uint16_t wanted) const {
  std::shared_lock lock(mutex_);
  ZoneAnswer out;
  std::string name(asked);
  for (int step = 0; step < kMaxAliases; ++step) {
    std::string_view zone = zone_of(name);
    const Node* node = find(name);
    // Of reverse names only those with records are ours; the tree above them is everybody's.
    if (zone.empty() && (node == nullptr || node->records.empty())) {
      if (step > 0) out.continue_at = name;
      return out;
    }
    if (node == nullptr) {
      if (synthesize_pod(name, wanted, out)) return out;
      // "default.pod.cluster.local" exists without a name of its own.
      bool namespace_of_pods = parent_of(name) == pods_;
      out.kind = namespace_of_pods ? ZoneAnswer::Kind::no_data : ZoneAnswer::Kind::no_name;
      out.soa_of = zone;
      return out;
    }
    size_t before = out.answers.size();
    const Record* alias = nullptr;
    for (const Record& r : node->records) {
      if (asks_for(wanted, r.type))
        out.answers.push_back(r);
      else if (r.type == type::kCname)
        alias = &r;
    }
    if (out.answers.size() > before) {
      // Clients take the first address: a different one each time.
      std::ranges::rotate(
          out.answers.begin() + static_cast<ptrdiff_t>(before),
          out.answers.begin() + static_cast<ptrdiff_t>(before + turn_.fetch_add(1, std::memory_order_relaxed) %
                                                                    (out.answers.size() - before)),
          out.answers.end());
      out.kind = ZoneAnswer::Kind::found;
      if (wanted == type::kSrv) add_targets(out);
      return out;
    }
    if (alias == nullptr) {
      out.kind = ZoneAnswer::Kind::no_data;
      out.soa_of = zone.empty() ? domain_ : zone;
      return out;
    }
    out.answers.push_back(*alias);
    out.kind = ZoneAnswer::Kind::found;
    name = lower(alias->data);
  }
  return out;
}

void Zone::add_targets(ZoneAnswer& answer) const {
  std::vector<std::string> seen;
  for (const Record& r : answer.answers) {
    if (r.type != type::kSrv || r.data.size() <= 6) continue;
    std::string target = r.data.substr(6);
    const Node* node = find(target);
    if (node == nullptr || std::ranges::find(seen, target) != seen.end()) continue;
    seen.push_back(target);
    for (const Record& t : node->records)
      if (t.type == type::kA || t.type == type::kAaaa) answer.additionals.push_back(t);
  }
}

}  // namespace kcube::dns
