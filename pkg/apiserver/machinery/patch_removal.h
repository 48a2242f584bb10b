// For merges: what they take away from an object. Internal to the room.
#pragma once

#include <algorithm>
#include <vector>

#include "pkg/api/json_members.h"

namespace kcube::machinery {

// Members that a patch takes away, all at once at the end. Meanwhile others may be added, which come behind.
class Removal {
 public:
  explicit Removal(json::object& object) : object_(object) {}
  void add(std::string_view name) {
    if (auto it = object_.find(json::key(name)); it != object_.end()) places_.push_back(static_cast<size_t>(it - object_.begin()));
  }
  void finish() {
    if (places_.empty()) return;
    std::ranges::sort(places_);
    places_.erase(std::ranges::unique(places_).begin(), places_.end());
    json::erase_members(object_, places_);
  }

 private:
  json::object& object_;
  std::vector<size_t> places_;
};

}  // namespace kcube::machinery
