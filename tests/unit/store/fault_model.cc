#include "tests/unit/store/fault_model.h"

#include <algorithm>

namespace kcube::store::testing {
namespace {

std::string text(const ModelState& state) {
  std::string out;
  for (const auto& [key, v] : state)
    out += " " + key + "@" + std::to_string(v.create_revision) + "/" + std::to_string(v.revision) + "(" + std::to_string(v.value.size()) + ")";
  return out.empty() ? " nothing" : out;
}

Result<ModelState> read(Store& store, uint64_t revision) {
  auto range = store.range("/", "", 0, revision);
  if (!range) return fail(range.error());
  ModelState state;
  for (const KeyValue& item : range->items) state[item.key] = {*item.value, item.create_revision, item.mod_revision};
  return state;
}

}  // namespace

void Model::apply(const std::vector<ModelWrite>& writes, uint64_t revision) {
  ModelState state = now();
  uint64_t next = revision - writes.size();
  for (const ModelWrite& write : writes) {
    ++next;
    if (write.remove) {
      state.erase(write.key);
    } else {
      ModelValue& v = state[write.key];
      v = {write.value, v.revision == 0 ? next : v.create_revision, next};
    }
    states_[next] = state;
  }
}

uint64_t Model::revision_of(const std::string& key) const {
  auto found = now().find(key);
  return found == now().end() ? 0 : found->second.revision;
}

std::string Model::compare(Store& store) const {
  if (store.revision() != revision()) return "revision " + std::to_string(store.revision()) + ", acknowledged " + std::to_string(revision());
  if (store.compacted_revision() != compacted_)
    return "compacted at " + std::to_string(store.compacted_revision()) + ", acknowledged " + std::to_string(compacted_);
  auto present = read(store, 0);
  if (!present) return "range: " + present.error().message();
  if (*present != now()) return "holds" + text(*present) + " instead of" + text(now());
  // The oldest revision that may be asked for, one in the middle, the last.
  uint64_t oldest = std::max<uint64_t>(compacted_, 1);
  for (uint64_t at : {oldest, (oldest + revision()) / 2, revision()}) {
    auto then = read(store, at);
    if (!then) return "range at " + std::to_string(at) + ": " + then.error().message();
    const ModelState& wanted = std::prev(states_.upper_bound(at))->second;
    if (*then != wanted) return "held at " + std::to_string(at) + text(*then) + " instead of" + text(wanted);
    if (std::string differs = compare_log(store, at); !differs.empty()) return "changes since " + std::to_string(at) + ": " + differs;
  }
  return {};
}

// What a watch from `after` would be told.
std::string Model::compare_log(Store& store, uint64_t after) const {
  auto changes = store.changes_since("/", after, 0);
  if (!changes) return changes.error().message();
  ModelState state = std::prev(states_.upper_bound(after))->second;
  uint64_t last = after;
  for (const Change& change : *changes) {
    std::string where = "revision " + std::to_string(change.revision) + " of " + change.key + ": ";
    if (change.revision <= last) return where + "out of order";
    // A removal that was compacted leaves no entry; nothing else is missing.
    if (change.revision != last + 1) return where + "does not follow " + std::to_string(last);
    last = change.revision;
    auto before = state.find(change.key);
    if (change.previous_revision != (before == state.end() ? 0 : before->second.revision)) return where + "another previous revision";
    if (before != state.end() && (!change.previous_value || *change.previous_value != before->second.value)) return where + "another previous value";
    const ModelState& next = states_.at(change.revision);
    auto now = next.find(change.key);
    if (change.removed != (now == next.end())) return where + "another kind of change";
    if (!change.removed && (*change.value != now->second.value || change.create_revision != now->second.create_revision)) return where + "another value";
    state = next;
  }
  return last == revision() ? "" : "ends at " + std::to_string(last);
}

std::vector<Write> conditional(const Model& model, const std::vector<ModelWrite>& writes) {
  std::vector<Write> out;
  for (const ModelWrite& w : writes)
    out.push_back({w.key, model.revision_of(w.key), w.remove, w.remove ? nullptr : std::make_shared<const std::string>(w.value)});
  return out;
}

}  // namespace kcube::store::testing
