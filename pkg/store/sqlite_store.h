// The SQLite store. On disk (user_version 1, application_id "kcub"):
//
//   changes(revision PRIMARY KEY, key, removed, create_revision, previous_revision, value)  every write; a removal has no value
//   objects(key PRIMARY KEY, create_revision, revision)                                      what exists now: points into changes
//   meta(name PRIMARY KEY, number)                                                           compacted, revision
//
// A value is stored once. Compacting to revision C forgets each row that a later row up to C supersedes, so that every
// key's state at C stays readable; the walk is over the rows since the last compaction only.
// One writer thread owns the writing connection: it takes all that waits, commits it as one transaction, tells the sink and
// then wakes the callers. Reads share a second connection under a mutex (they are rare: the API server serves from memory).
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "pkg/base/fd.h"
#include "pkg/base/gate.h"
#include "pkg/store/sqlite_database.h"
#include "pkg/store/store.h"

namespace kcube::store {

class SqliteStore final : public Store {
 public:
  static Result<std::unique_ptr<Store>> open(const SqliteOptions& options);
  ~SqliteStore() override;

  Result<uint64_t> commit(Write write) override;
  Result<uint64_t> commit_all(std::vector<Write> writes) override;
  Result<RangeResult> range(std::string_view prefix, std::string_view start, size_t limit, uint64_t revision) override;
  Result<void> follow(uint64_t after, std::function<void(const std::vector<Change>&)> sink) override;
  Result<std::vector<Change>> changes_since(std::string_view prefix, uint64_t after, size_t limit) override;
  uint64_t revision() const override { return revision_.load(std::memory_order_acquire); }
  uint64_t compacted_revision() const override { return compacted_.load(std::memory_order_acquire); }
  Result<void> compact(uint64_t revision) override;
  uint64_t size_bytes() const override;

 private:
  struct Request {
    std::vector<Write> writes;
    uint64_t compact_to = 0;          // a compaction instead of writes
    Result<uint64_t> result = 0;
  };
  // Requests that share a transaction, and its sync. Held by the writer and by each that waits for it.
  struct Group {
    std::vector<Request*> requests;
    Gate done;
  };
  struct Current {
    uint64_t create_revision = 0, revision = 0;
  };

  explicit SqliteStore(const SqliteOptions& options) : options_(options) {}
  Result<void> prepare();
  Result<void> create_tables();
  Result<void> prepare_statements();

  // Callers.
  Result<uint64_t> submit(Request& request);

  // Writer thread.
  void run_writer();
  void commit_group(const std::vector<Request*>& group);
  Result<void> apply(Request& request, std::vector<Change>& changes, uint64_t& revision);
  Result<Current> current(std::string_view key);
  Result<std::shared_ptr<const std::string>> value_at(Statement& statement, uint64_t revision);
  Result<void> write_change(const Change& change);
  void housekeeping();
  Result<void> compact_to(uint64_t target);

  // Readers, under read_mutex_.
  template <typename T>
  Result<T> read(const std::function<Result<T>()>& body);
  Result<void> check_compacted(uint64_t revision);
  Result<RangeResult> range_now(std::string_view prefix, std::string_view start, size_t limit);
  Result<RangeResult> range_then(std::string_view prefix, std::string_view start, size_t limit, uint64_t revision);
  Result<std::vector<Change>> read_changes(std::string_view prefix, uint64_t after, size_t limit);

  const SqliteOptions options_;
  Fd lock_;
  std::unique_ptr<Database> writer_;
  Statement find_, value_, insert_change_, put_object_, drop_object_, set_meta_;
  std::unique_ptr<Database> reader_;
  std::mutex read_mutex_;

  std::atomic<uint64_t> revision_{0}, compacted_{0};
  std::function<void(const std::vector<Change>&)> sink_;

  std::mutex mutex_;
  std::condition_variable waiting_changed_;
  std::deque<std::shared_ptr<Group>> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

// The first key after all keys with `prefix`; empty when there is none.
std::string prefix_end(std::string_view prefix);

}  // namespace kcube::store
