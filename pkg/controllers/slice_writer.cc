#include "pkg/controllers/slice_writer.h"

#include <algorithm>

#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kEndpointSlices;

constexpr auto kLapse = std::chrono::minutes(1);

std::string group_key(std::string_view type, const json::array& ports) {
  std::vector<std::string> parts;
  for (const json::value& port : ports) {
    std::string part;
    for (std::string_view name : {"name", "port", "protocol", "appProtocol"})
      if (const json::value* v = json::find(&port, name)) part += json::serialize(*v) + "/";
    parts.push_back(std::move(part));
  }
  std::ranges::sort(parts);
  std::string key(type);
  for (const auto& part : parts) key += "|" + part;
  return key;
}

std::string endpoint_key(const json::value& endpoint) {
  std::string uid = string_at(endpoint, {"targetRef", "uid"});
  if (!uid.empty()) return uid;
  const json::array& addresses = json::get_array(json::find(&endpoint, "addresses"));
  return addresses.empty() ? std::string() : std::string(json::get_string(&addresses.front()));
}

}  // namespace

bool SliceWriter::current(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto it = memory_.find(key);
  if (it == memory_.end()) return true;
  Memory& memory = it->second;
  if (clock_.steady_now() - memory.since < kLapse) {
    std::string ns = api::split_key(key).first;
    for (const auto& [name, revision] : memory.revisions)
      if (auto seen = slices_.get(ns, name); !seen || seen->revision() < revision) return false;
    for (const auto& [name, uid] : memory.removed)
      if (auto seen = slices_.get(ns, name); seen && seen->uid() == uid) return false;
  }
  memory_.erase(it);
  return true;
}

void SliceWriter::saw_removal(const std::string& key, const api::Object& slice) {
  std::lock_guard lock(mutex_);
  if (auto it = memory_.find(key); it != memory_.end()) it->second.revisions.erase(std::string(slice.name()));
}

void SliceWriter::forget(const std::string& key) {
  std::lock_guard lock(mutex_);
  memory_.erase(key);
}

void SliceWriter::wrote(const std::string& key, const api::Object& slice) {
  std::lock_guard lock(mutex_);
  Memory& memory = memory_[key];
  memory.revisions[std::string(slice.name())] = slice.revision();
  memory.since = clock_.steady_now();
}

Result<void> SliceWriter::create(const SliceParent& parent, const SliceGroup& group, json::array endpoints) {
  json::object metadata{{"generateName", text(parent.name + "-")}, {"namespace", text(parent.namespace_)}, {"labels", parent.labels},
                        {"ownerReferences", json::array{parent.owner}}};
  if (!parent.annotations.empty()) metadata["annotations"] = parent.annotations;
  json::object slice{{"apiVersion", "discovery.k8s.io/v1"}, {"kind", "EndpointSlice"}, {"metadata", std::move(metadata)},
                     {"addressType", text(group.address_type)}, {"endpoints", std::move(endpoints)}, {"ports", group.ports}};
  auto made = client_.create(kEndpointSlices, parent.namespace_, slice);
  if (!made) return fail(made.error());
  wrote(parent.key, **made);
  return {};
}

Result<void> SliceWriter::update(const SliceParent& parent, const api::Object& slice, const json::array& ports, json::array endpoints) {
  json::value next(slice.value());
  json::object& metadata = json::ensure_path(next, {"metadata"});
  metadata["labels"] = parent.labels;
  if (parent.annotations.empty()) metadata.erase("annotations");
  else metadata["annotations"] = parent.annotations;
  next.as_object()["endpoints"] = std::move(endpoints);
  next.as_object()["ports"] = ports;
  if (equivalent(&next, &slice.value())) return {};
  auto written = client_.update(kEndpointSlices, slice.namespace_(), slice.name(), next);
  if (!written) return fail(written.error());
  wrote(parent.key, **written);
  return {};
}

Result<void> SliceWriter::remove(const SliceParent& parent, const api::Object& slice) {
  auto r = client_.remove(kEndpointSlices, slice.namespace_(), slice.name(), {.uid = std::string(slice.uid())});
  if (!r && !r.error().is_not_found()) return r;
  std::lock_guard lock(mutex_);
  Memory& memory = memory_[parent.key];
  memory.revisions.erase(std::string(slice.name()));
  memory.removed[std::string(slice.name())] = std::string(slice.uid());
  memory.since = clock_.steady_now();
  return {};
}

Result<void> SliceWriter::write_group(const SliceParent& parent, std::vector<api::ObjectPtr> existing, SliceGroup group, size_t max_per_slice) {
  std::map<std::string, json::value*> wanted;
  for (json::value& endpoint : group.endpoints) wanted[endpoint_key(endpoint)] = &endpoint;
  struct Entry {
    api::ObjectPtr slice;
    json::array endpoints;
    bool changed = false;
  };
  std::vector<Entry> entries;
  for (const api::ObjectPtr& slice : existing) {
    Entry entry{slice};
    for (const json::value& endpoint : json::get_array(json::find(&slice->value(), "endpoints"))) {
      auto it = wanted.find(endpoint_key(endpoint));
      entry.changed |= it == wanted.end() || !equivalent(&endpoint, it->second);
      if (it == wanted.end()) continue;
      entry.endpoints.push_back(std::move(*it->second));
      wanted.erase(it);
    }
    entries.push_back(std::move(entry));
  }
  // Slices that are written anyway first, then the fullest.
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return std::pair(!a.changed, -static_cast<int64_t>(a.endpoints.size())) < std::pair(!b.changed, -static_cast<int64_t>(b.endpoints.size()));
  });
  auto next = wanted.begin();
  for (Entry& entry : entries)
    for (; next != wanted.end() && entry.endpoints.size() < max_per_slice; ++next) entry.endpoints.push_back(std::move(*next->second));
  bool any = false;
  while (next != wanted.end()) {
    json::array endpoints;
    for (; next != wanted.end() && endpoints.size() < max_per_slice; ++next) endpoints.push_back(std::move(*next->second));
    if (auto r = create(parent, group, std::move(endpoints)); !r) return r;
    any = true;
  }
  for (const Entry& entry : entries) any |= !entry.endpoints.empty();
  for (Entry& entry : entries) {
    // The last one stays, empty: it says that the service has been looked at.
    bool keep = !entry.endpoints.empty() || !std::exchange(any, true);
    auto r = keep ? update(parent, *entry.slice, group.ports, std::move(entry.endpoints)) : remove(parent, *entry.slice);
    if (!r) return r;
  }
  if (!any) return create(parent, group, {});
  return {};
}

Result<void> SliceWriter::write(const SliceParent& parent, const std::vector<api::ObjectPtr>& existing, std::vector<SliceGroup> groups,
                                const std::set<std::string>& address_types, size_t max_per_slice) {
  std::map<std::string, std::vector<api::ObjectPtr>> by_group;
  for (const auto& slice : existing)
    by_group[group_key(json::get_string(slice->value(), {"addressType"}), json::get_array(json::find(&slice->value(), "ports")))].push_back(slice);
  for (const std::string& type : address_types)
    if (std::ranges::none_of(groups, [&](const SliceGroup& g) { return g.address_type == type; })) groups.push_back({type, {}, {}});
  // A slice whose ports are no longer wanted is used again for a group that has none yet, so that a change of ports (or
  // the first endpoint of a service) is one write.
  std::set<std::string> keys;
  for (const auto& group : groups) keys.insert(group_key(group.address_type, group.ports));
  std::vector<api::ObjectPtr> spare;
  for (auto it = by_group.begin(); it != by_group.end();) {
    if (keys.contains(it->first)) {
      ++it;
      continue;
    }
    spare.insert(spare.end(), it->second.begin(), it->second.end());
    it = by_group.erase(it);
  }
  for (SliceGroup& group : groups) {
    auto& mine = by_group[group_key(group.address_type, group.ports)];
    if (mine.empty()) {
      auto fits = std::ranges::find_if(spare, [&](const auto& s) { return json::get_string(s->value(), {"addressType"}) == group.address_type; });
      if (fits != spare.end()) {
        mine.push_back(*fits);
        spare.erase(fits);
      }
    }
    if (auto r = write_group(parent, mine, std::move(group), max_per_slice); !r) return r;
  }
  for (const auto& slice : spare)
    if (auto r = remove(parent, *slice); !r) return r;
  return {};
}

}  // namespace kcube::controllers
