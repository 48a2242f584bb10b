// What the store must hold, by what it acknowledged: revisions and the log of changes since the last compaction.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pkg/store/store.h"

namespace kcube::store::testing {

struct ModelValue {
  std::string value;
  uint64_t create_revision = 0, revision = 0;
  bool operator==(const ModelValue&) const = default;
};
using ModelState = std::map<std::string, ModelValue>;

struct ModelWrite {
  std::string key;
  bool remove = false;
  std::string value;
};

class Model {
 public:
  // The store acknowledged `writes`, the last of which has `revision`.
  void apply(const std::vector<ModelWrite>& writes, uint64_t revision);
  void compacted(uint64_t revision) { compacted_ = std::max(compacted_, revision); }

  const ModelState& now() const { return states_.rbegin()->second; }
  uint64_t revision() const { return states_.rbegin()->first; }
  uint64_t revision_of(const std::string& key) const;
  uint64_t compacted() const { return compacted_; }
  // Empty when `store` holds just this, else what differs: objects now and in the past, the log, revisions.
  std::string compare(Store& store) const;

 private:
  std::string compare_log(Store& store, uint64_t after) const;
  std::map<uint64_t, ModelState> states_{{1, {}}};   // after each acknowledged revision
  uint64_t compacted_ = 0;
};

// The store's writes for the model's, each on condition of the revision that the model knows.
std::vector<Write> conditional(const Model& model, const std::vector<ModelWrite>& writes);

}  // namespace kcube::store::testing
