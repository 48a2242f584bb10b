// The store: keys, values and one global revision, durable and watchable. The whole of what the API server asks of a
// database, small enough that SQLite and etcd can both be behind it.
//
// Keys are "/registry/pods/default/web-1"; values are opaque bytes. Every write takes the next revision, and the log of
// writes is kept until compacted, so that watches resume over a restart. An acknowledged write survives kill -9 and
// power loss. Thread-safe. Source: etcd v3's data model; design decision 4.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/status.h"

namespace kcube::store {

struct KeyValue {
  std::string key;
  std::shared_ptr<const std::string> value;
  uint64_t create_revision = 0;
  uint64_t mod_revision = 0;
};

// One conditional write. `expected_revision` is the mod_revision the key must have: 0 means it must not exist.
struct Write {
  std::string key;
  uint64_t expected_revision = 0;
  bool remove = false;
  std::shared_ptr<const std::string> value;   // of a put
};

struct Change {
  uint64_t revision = 0;
  std::string key;
  bool removed = false;
  std::shared_ptr<const std::string> value;           // after a put; the last value before a removal
  uint64_t create_revision = 0;
  uint64_t previous_revision = 0;                     // 0: created
  std::shared_ptr<const std::string> previous_value;  // null when created, and in what follow() tells of: it was told before
};

struct RangeResult {
  std::vector<KeyValue> items;
  bool more = false;
  uint64_t revision = 0;          // of the snapshot read
};

class Store {
 public:
  virtual ~Store() = default;

  // Waits until durable. 409 Conflict when the key's revision is another (the caller re-reads and retries),
  // 507 when the disk is full. Returns the revision of the write.
  virtual Result<uint64_t> commit(Write write) = 0;
  // Several writes, all or nothing, each with a revision of its own; returns the last.
  virtual Result<uint64_t> commit_all(std::vector<Write> writes) = 0;

  // Keys from `start` on with prefix `prefix`, in order; at most `limit` (0: all). At `revision` (0: now), 410 when compacted.
  virtual Result<RangeResult> range(std::string_view prefix, std::string_view start, size_t limit, uint64_t revision) = 0;

  // `sink` gets every change with revision > `after`, in order, in batches, on a thread of the store (for SqliteStore: the
  // writer's, right after the commit and before commit() returns to its caller). One sink, set once before the first write;
  // 410 when `after` is compacted.
  virtual Result<void> follow(uint64_t after, std::function<void(const std::vector<Change>&)> sink) = 0;

  // Changes with revision > `after` from the log, for watches older than the cache's window; 410 when compacted.
  virtual Result<std::vector<Change>> changes_since(std::string_view prefix, uint64_t after, size_t limit) = 0;

  virtual uint64_t revision() const = 0;
  virtual uint64_t compacted_revision() const = 0;
  // Forgets superseded versions and log entries up to `revision`.
  virtual Result<void> compact(uint64_t revision) = 0;
  virtual uint64_t size_bytes() const = 0;
  // True when writing the same value again would store it in another way: under a newer key.
  virtual bool is_stale(std::string_view) { return false; }
};

struct SqliteOptions {
  std::string path;                       // of the database file; its directory must exist
  uint64_t keep_revisions = 10000;        // compaction keeps at least this many
  uint64_t wal_limit_bytes = 4 << 20;    // beyond, it is moved into the database and begins anew
};
Result<std::unique_ptr<Store>> open_sqlite(const SqliteOptions& options);

}  // namespace kcube::store
