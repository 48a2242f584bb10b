// Reading: the present from `objects`, the past by undoing the log.
#include <map>
#include <set>

#include "pkg/store/sqlite_store.h"

namespace kcube::store {
namespace {

Status compacted(uint64_t revision) {
  return {410, "Expired", "the revision " + std::to_string(revision) + " has been compacted"};
}

std::shared_ptr<const std::string> copy(std::string_view text) { return std::make_shared<const std::string>(text); }

}  // namespace

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(end.back() + 1);
  return end;
}

// One snapshot: what is read below does not change meanwhile, nor is it compacted.
template <typename T>
Result<T> SqliteStore::read(const std::function<Result<T>()>& body) {
  std::lock_guard lock(read_mutex_);
  if (auto r = reader_->execute("BEGIN"); !r) return fail(r.error());
  auto result = body();
  if (auto r = reader_->execute("COMMIT"); !r) reader_->roll_back();
  return result;
}

Result<void> SqliteStore::check_compacted(uint64_t revision) {
  auto floor = reader_->query_number("SELECT number FROM meta WHERE name='compacted'");
  if (!floor) return fail(floor.error());
  if (revision < *floor) return fail(compacted(revision));
  return {};
}

Result<RangeResult> SqliteStore::range(std::string_view prefix, std::string_view start, size_t limit, uint64_t revision) {
  return read<RangeResult>([&] { return revision == 0 ? range_now(prefix, start, limit) : range_then(prefix, start, limit, revision); });
}

Result<RangeResult> SqliteStore::range_now(std::string_view prefix, std::string_view start, size_t limit) {
  RangeResult result;
  // Within this transaction: the snapshot's own revision, not that of a commit made meanwhile.
  auto last = reader_->query_number("SELECT max((SELECT coalesce(max(revision),1) FROM changes), (SELECT max(number) FROM meta))");
  if (!last) return fail(last.error());
  result.revision = *last;
  std::string from(start.empty() ? prefix : std::max(prefix, start)), end = prefix_end(prefix);
  Statement rows = reader_->prepare(
      end.empty() ? "SELECT o.key, o.create_revision, o.revision, c.value FROM objects o JOIN changes c ON c.revision=o.revision "
                    "WHERE o.key>=?1 ORDER BY o.key"
                  : "SELECT o.key, o.create_revision, o.revision, c.value FROM objects o JOIN changes c ON c.revision=o.revision "
                    "WHERE o.key>=?1 AND o.key<?2 ORDER BY o.key");
  rows.bind_text(1, from);
  if (!end.empty()) rows.bind_text(2, end);
  while (true) {
    auto row = rows.step();
    if (!row) return fail(row.error());
    if (!*row) return result;
    if (limit > 0 && result.items.size() == limit) {
      result.more = true;
      return result;
    }
    result.items.push_back({std::string(rows.text(0)), copy(rows.text(3)), rows.number(1), rows.number(2)});
  }
}

// The present with every change since undone. Costs what has changed since, which compaction bounds.
Result<RangeResult> SqliteStore::range_then(std::string_view prefix, std::string_view start, size_t limit, uint64_t revision) {
  if (auto done = check_compacted(revision); !done) return fail(done.error());
  auto changes = read_changes(prefix, revision, 0);
  if (!changes) return fail(changes.error());
  auto now = range_now(prefix, start, 0);
  if (!now) return fail(now.error());
  if (revision > now->revision)
    return fail(Status(504, "Timeout", "Too large resource version: " + std::to_string(revision) + ", current: " + std::to_string(now->revision)));
  std::map<std::string, KeyValue> items;
  for (KeyValue& item : now->items) items.emplace(item.key, std::move(item));
  Statement value = reader_->prepare("SELECT value, create_revision FROM changes WHERE revision=?1");
  std::set<std::string> seen;
  for (const Change& change : *changes) {
    if (!seen.insert(change.key).second || (!start.empty() && change.key < start)) continue;
    if (change.previous_revision == 0) {
      items.erase(change.key);
      continue;
    }
    value.bind(1, change.previous_revision);
    auto row = value.step();
    if (!row) return fail(row.error());
    if (*row) items[change.key] = {change.key, copy(value.text(0)), value.number(1), change.previous_revision};
    value.reset();
  }
  RangeResult result;
  result.revision = revision;
  for (auto& [key, item] : items) {
    if (limit > 0 && result.items.size() == limit) {
      result.more = true;
      break;
    }
    result.items.push_back(std::move(item));
  }
  return result;
}

Result<std::vector<Change>> SqliteStore::changes_since(std::string_view prefix, uint64_t after, size_t limit) {
  return read<std::vector<Change>>([&]() -> Result<std::vector<Change>> {
    if (auto done = check_compacted(after); !done) return fail(done.error());
    return read_changes(prefix, after, limit);
  });
}

Result<std::vector<Change>> SqliteStore::read_changes(std::string_view prefix, uint64_t after, size_t limit) {
  Statement rows = reader_->prepare(
      "SELECT c.revision, c.key, c.removed, c.create_revision, c.previous_revision, c.value, p.value FROM changes c "
      "LEFT JOIN changes p ON p.revision=c.previous_revision WHERE c.revision>?1 ORDER BY c.revision");
  rows.bind(1, after);
  std::vector<Change> changes;
  while (limit == 0 || changes.size() < limit) {
    auto row = rows.step();
    if (!row) return fail(row.error());
    if (!*row) break;
    if (!rows.text(1).starts_with(prefix)) continue;
    Change change;
    change.revision = rows.number(0);
    change.key = rows.text(1);
    change.removed = rows.number(2) != 0;
    change.create_revision = rows.number(3);
    change.previous_revision = rows.number(4);
    if (!rows.is_null(6)) change.previous_value = copy(rows.text(6));
    change.value = change.removed ? change.previous_value : copy(rows.text(5));
    changes.push_back(std::move(change));
  }
  return changes;
}

}  // namespace kcube::store
