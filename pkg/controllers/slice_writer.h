// SliceWriter: brings the EndpointSlices of one parent to what is wanted with few writes: an endpoint stays in the slice
// where it is, new ones fill slices that change anyway, a slice holds at most 100 (so one pod's change is one small
// write). It remembers what it wrote, so that a lagging informer never makes it write twice. Internal to the room.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/base/clock.h"
#include "pkg/client/client.h"
#include "pkg/client/informer.h"

namespace kcube::controllers {

// Endpoints of one address type that share their ports.
struct SliceGroup {
  std::string address_type;   // "IPv4", "IPv6"
  json::array ports;
  json::array endpoints;
};

struct SliceParent {
  std::string key;            // of the service, for the memory of writes
  std::string namespace_, name;
  json::object labels, annotations;
  json::object owner;         // owner reference
};

class SliceWriter {
 public:
  SliceWriter(client::Client& client, Clock& clock, client::Informer& slices) : client_(client), clock_(clock), slices_(slices) {}

  // False while the informer has not shown our last writes; the slice's event brings the key again.
  bool current(const std::string& key);
  // `existing`: the slices of this parent that are ours. An address type without endpoints keeps one empty slice.
  Result<void> write(const SliceParent& parent, const std::vector<api::ObjectPtr>& existing, std::vector<SliceGroup> groups,
                     const std::set<std::string>& address_types, size_t max_per_slice = 100);
  // From the informer's handlers.
  void saw_removal(const std::string& key, const api::Object& slice);
  void forget(const std::string& key);

 private:
  struct Plan;
  Result<void> create(const SliceParent& parent, const SliceGroup& group, json::array endpoints);
  Result<void> update(const SliceParent& parent, const api::Object& slice, const json::array& ports, json::array endpoints);
  Result<void> remove(const SliceParent& parent, const api::Object& slice);
  Result<void> write_group(const SliceParent& parent, std::vector<api::ObjectPtr> existing, SliceGroup group, size_t max_per_slice);
  void wrote(const std::string& key, const api::Object& slice);

  client::Client& client_;
  Clock& clock_;
  client::Informer& slices_;
  std::mutex mutex_;
  struct Memory {
    std::map<std::string, uint64_t> revisions;          // slice name: what the informer must show
    std::map<std::string, std::string> removed;         // slice name: uid that must be gone
    SteadyTime since;
  };
  std::map<std::string, Memory> memory_;
};

}  // namespace kcube::controllers
