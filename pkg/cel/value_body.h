// What lists and maps that an expression made consist of.
#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "pkg/cel/value.h"

namespace kcube::cel {

struct ListBody final : Shared {
  std::vector<Value> items;
};

struct MapBody final : Shared {
  std::vector<std::pair<Value, Value>> entries;              // in the order they were added
  std::unordered_multimap<size_t, uint32_t> index;           // by hash of the key, when there are many
  const Value* find(const Value& key) const;
  void add(Value key, Value value);                          // the key is not there yet
};

}  // namespace kcube::cel
