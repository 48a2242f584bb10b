#include "pkg/store/sqlite_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "pkg/base/executor.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"

namespace kcube::store {
namespace {

constexpr uint64_t kSchemaVersion = 1;
constexpr uint64_t kApplicationId = 0x6b637562;  // "kcub"
constexpr uint64_t kLogAhead = 1 << 20;           // bytes of zeros that are written at a time
constexpr size_t kGroupBound = 512;              // requests in one transaction
constexpr uint64_t kCompactionStep = 500;       // revisions compacted in one go, so that writers wait little
constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kQuickCheckBound = 64 << 20;

uint64_t file_size(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite(const SqliteOptions& options) { return SqliteStore::open(options); }

Result<std::unique_ptr<Store>> SqliteStore::open(const SqliteOptions& options) {
  std::unique_ptr<SqliteStore> store(new SqliteStore(options));
  auto lock = file::lock(options.path + ".lock");
  if (!lock) return fail(lock.error().with_context("the database " + options.path + " is in use by another server"));
  store->lock_ = std::move(*lock);
  if (auto r = store->prepare(); !r) return fail(r.error().with_context("store " + options.path));
  store->thread_ = std::thread([s = store.get()] { s->run_writer(); });
  return store;
}

SqliteStore::~SqliteStore() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  waiting_changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<void> SqliteStore::prepare() {
  bool unclean = file_size(options_.path + "-wal") > 0 && file_size(options_.path) < kQuickCheckBound;
  auto opened = Database::open(options_.path, false);
  if (!opened) return fail(opened.error());
  writer_ = std::move(*opened);
  // auto_vacuum takes effect on a new file only, and before the first table.
  if (auto r = writer_->execute("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8192");
      !r)
    return r;
  auto version = writer_->query_number("PRAGMA user_version");
  if (!version) return fail(version.error());
  if (*version > kSchemaVersion)
    return fail(Status::internal("the database was written by a newer kcube (format " + std::to_string(*version) +
                                 ", this one knows " + std::to_string(kSchemaVersion) + "): use that version"));
  auto application = writer_->query_number("PRAGMA application_id");
  if (!application) return fail(application.error());
  if (*version > 0 && *application != kApplicationId) return fail(Status::internal("the file is the database of another program"));
  if (unclean) {
    Statement check = writer_->prepare("PRAGMA quick_check(1)");
    auto row = check.step();
    if (!row) return fail(row.error());
    if (*row && check.text(0) != "ok")
      return fail(Status::internal("the database is damaged (" + std::string(check.text(0)) + "): restore it from a snapshot"));
  }
  if (*version == 0)
    if (auto r = create_tables(); !r) return r;
  if (auto r = prepare_statements(); !r) return r;
  auto reader = Database::open(options_.path, true);
  if (!reader) return fail(reader.error());
  reader_ = std::move(*reader);
  // The one before may have ended with a sync that failed: its log goes into the database before anything follows it.
  // Where that fails (the disk is full) reads are served, and the first write tries again.
  writer_->doubt();
  if (auto done = writer_->empty_log(); !done) log::warn("store", "the log of the last run is kept", {{"error", done.error()}});
  return {};
}

Result<void> SqliteStore::create_tables() {
  return writer_->execute(
      "BEGIN IMMEDIATE;"
      "CREATE TABLE changes(revision INTEGER PRIMARY KEY, key TEXT NOT NULL, removed INTEGER NOT NULL,"
      " create_revision INTEGER NOT NULL, previous_revision INTEGER NOT NULL, value BLOB);"
      "CREATE TABLE objects(key TEXT PRIMARY KEY, create_revision INTEGER NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE meta(name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;"
      // Revision 1 is the empty store, as in etcd: no object ever has resourceVersion 0 or 1.
      "INSERT INTO meta VALUES('compacted', 0), ('first', 1);"
      "PRAGMA application_id=1801680226; PRAGMA user_version=1;"
      "COMMIT");
}

Result<void> SqliteStore::prepare_statements() {
  find_ = writer_->prepare("SELECT create_revision, revision FROM objects WHERE key=?1");
  value_ = writer_->prepare("SELECT value FROM changes WHERE revision=?1");
  insert_change_ = writer_->prepare("INSERT INTO changes VALUES(?1,?2,?3,?4,?5,?6)");
  put_object_ = writer_->prepare("INSERT INTO objects VALUES(?1,?2,?3) ON CONFLICT(key) DO UPDATE SET create_revision=?2, revision=?3");
  drop_object_ = writer_->prepare("DELETE FROM objects WHERE key=?1");
  set_meta_ = writer_->prepare("INSERT INTO meta VALUES(?1,?2) ON CONFLICT(name) DO UPDATE SET number=?2");
  auto last = writer_->query_number("SELECT max(revision) FROM changes");
  if (!last) return fail(last.error());
  auto compacted = writer_->query_number("SELECT number FROM meta WHERE name='compacted'");
  if (!compacted) return fail(compacted.error());
  // After a compaction of removals the log may be empty: the revision never goes back.
  revision_ = std::max({*last, *compacted, uint64_t{1}});
  compacted_ = *compacted;
  return {};
}

Result<uint64_t> SqliteStore::commit(Write write) {
  Request request;
  request.writes.push_back(std::move(write));
  return submit(request);
}

Result<uint64_t> SqliteStore::commit_all(std::vector<Write> writes) {
  Request request;
  request.writes = std::move(writes);
  return submit(request);
}

Result<void> SqliteStore::compact(uint64_t revision) {
  Request request;
  request.compact_to = revision;
  auto done = submit(request);
  if (!done) return fail(done.error());
  return {};
}

Result<uint64_t> SqliteStore::submit(Request& request) {
  std::shared_ptr<Group> group;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return fail(Status::unavailable("the store is closing"));
    // A compaction takes long: no write shares its group.
    const bool join = !waiting_.empty() && waiting_.back()->requests.size() < kGroupBound && request.compact_to == 0 &&
                      waiting_.back()->requests.front()->compact_to == 0;
    if (!join) waiting_.push_back(std::make_shared<Group>());
    group = waiting_.back();
    group->requests.push_back(&request);
  }
  waiting_changed_.notify_one();
  group->done.wait();
  return std::move(request.result);
}

Result<void> SqliteStore::follow(uint64_t after, std::function<void(const std::vector<Change>&)> sink) {
  if (after < compacted_revision()) return fail(Status(410, "Expired", "the revision has been compacted"));
  std::vector<Change> missed;
  if (after < revision()) {
    auto changes = changes_since("", after, 0);
    if (!changes) return fail(changes.error());
    missed = std::move(*changes);
  }
  if (!missed.empty()) sink(missed);
  std::lock_guard lock(mutex_);  // the writer reads sink_ after taking this lock for its first request
  sink_ = std::move(sink);
  return {};
}

void SqliteStore::run_writer() {
  set_thread_name("store-writer");
  while (true) {
    std::shared_ptr<Group> group;
    {
      std::unique_lock lock(mutex_);
      waiting_changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) break;
      group = std::move(waiting_.front());
      waiting_.pop_front();
    }
    commit_group(group->requests);
    group->done.open();
    housekeeping();
  }
  (void)writer_->empty_log();   // what it leaves undone, the next start does
}

void SqliteStore::commit_group(const std::vector<Request*>& group) {
  std::vector<Change> changes;
  uint64_t next = revision();
  // Nothing is acknowledged behind a sync that failed before the disk has taken all that was acknowledged until then.
  Result<void> state = writer_->in_doubt() ? writer_->empty_log() : Result<void>();
  if (state) state = writer_->execute("BEGIN IMMEDIATE");
  for (Request* request : group) {
    if (request->compact_to > 0) continue;
    if (!state) break;
    size_t before = changes.size();
    auto applied = apply(*request, changes, next);
    // A conflict leaves nothing behind; any other failure spoils the transaction.
    if (!applied && changes.size() != before) state = applied;
    if (!applied && applied.error().code() != 409) state = applied;
  }
  if (state) state = writer_->execute("COMMIT");
  if (!state) {
    writer_->roll_back();
    log::error("store", "commit failed", {{"error", state.error()}, {"requests", group.size()}});
    for (Request* request : group) request->result = fail(state.error());
  } else if (!changes.empty()) {
    revision_.store(next, std::memory_order_release);
    if (sink_) sink_(changes);
  }
  for (Request* request : group) {
    if (!state || request->compact_to == 0) continue;
    uint64_t target = std::min(request->compact_to, revision());
    Result<void> compacted = {};
    while (compacted && this->compacted_revision() < target)
      compacted = compact_to(std::min(target, compacted_revision() + kCompactionStep));
    request->result = compacted ? Result<uint64_t>(target) : fail(compacted.error());
  }
}

// Checks every expectation first, so that a conflict needs no undoing.
Result<void> SqliteStore::apply(Request& request, std::vector<Change>& changes, uint64_t& revision) {
  std::vector<Current> now;
  now.reserve(request.writes.size());
  for (const Write& write : request.writes) {
    auto found = current(write.key);
    if (!found) {
      request.result = fail(found.error());
      return fail(found.error());
    }
    bool gone = write.remove && found->revision == 0;
    if (found->revision != write.expected_revision || gone) {
      Status conflict(409, "Conflict", "key " + write.key + " is at revision " + std::to_string(found->revision));
      request.result = fail(conflict);
      return fail(std::move(conflict));
    }
    now.push_back(*found);
  }
  for (size_t i = 0; i < request.writes.size(); ++i) {
    Write& write = request.writes[i];
    Change change;
    change.revision = ++revision;
    change.key = std::move(write.key);
    change.removed = write.remove;
    change.previous_revision = now[i].revision;
    change.create_revision = now[i].revision == 0 ? change.revision : now[i].create_revision;
    if (write.remove) {
      auto last = value_at(value_, now[i].revision);
      if (!last) return fail(last.error());
      change.value = std::move(*last);
    } else {
      change.value = std::move(write.value);
    }
    if (auto r = write_change(change); !r) return r;
    changes.push_back(std::move(change));
  }
  request.result = revision;
  return {};
}

Result<SqliteStore::Current> SqliteStore::current(std::string_view key) {
  find_.bind_text(1, key);
  auto row = find_.step();
  Current found;
  if (row && *row) found = {find_.number(0), find_.number(1)};
  find_.reset();
  if (!row) return fail(row.error());
  return found;
}

Result<std::shared_ptr<const std::string>> SqliteStore::value_at(Statement& statement, uint64_t revision) {
  statement.bind(1, revision);
  auto row = statement.step();
  std::shared_ptr<const std::string> value;
  if (row && *row && !statement.is_null(0)) value = std::make_shared<const std::string>(statement.text(0));
  statement.reset();
  if (!row) return fail(row.error());
  return value;
}

Result<void> SqliteStore::write_change(const Change& change) {
  insert_change_.bind(1, change.revision).bind_text(2, change.key).bind(3, change.removed ? 1 : 0);
  insert_change_.bind(4, change.create_revision).bind(5, change.previous_revision);
  if (!change.removed) insert_change_.bind_blob(6, *change.value);
  if (auto r = insert_change_.run(); !r) return r;
  if (change.removed) return drop_object_.bind_text(1, change.key).run();
  return put_object_.bind_text(1, change.key).bind(2, change.create_revision).bind(3, change.revision).run();
}

// After each group: a step of compaction when much is superseded, and the log's size. The log is written from its start again
// and again, and made longer ahead of its end: a sync that need not record a new size is one write instead of two.
void SqliteStore::housekeeping() {
  uint64_t now = revision(), floor = compacted_revision();
  if (now > floor + options_.keep_revisions + kCompactionStep) {
    if (auto r = compact_to(std::min(now - options_.keep_revisions, floor + kCompactionStep)); !r)
      log::error("store", "compaction failed", {{"error", r.error()}});
  }
  if (writer_->wal_pages() * kPageBytes > options_.wal_limit_bytes) {
    auto done = writer_->restart_log();
    if (!done && done.error().code() != 503) log::error("store", "checkpoint failed", {{"error", done.error()}});
  }
  writer_->lengthen_log(kLogAhead, options_.wal_limit_bytes);
}

// A row is superseded by the row that names it as its previous; removals vanish themselves.
Result<void> SqliteStore::compact_to(uint64_t target) {
  uint64_t from = compacted_revision();
  if (target <= from) return {};
  Statement superseded = writer_->prepare(
      "DELETE FROM changes WHERE revision IN (SELECT previous_revision FROM changes WHERE revision>?1 AND revision<=?2 AND previous_revision>0)");
  Statement removals = writer_->prepare("DELETE FROM changes WHERE revision>?1 AND revision<=?2 AND removed=1");
  Result<void> r = writer_->execute("BEGIN IMMEDIATE");
  if (r) r = superseded.bind(1, from).bind(2, target).run();
  if (r) r = removals.bind(1, from).bind(2, target).run();
  if (r) r = set_meta_.bind_text(1, "compacted").bind(2, target).run();
  if (r) r = writer_->execute("COMMIT");
  if (!r) {
    writer_->roll_back();
    return r;
  }
  compacted_.store(target, std::memory_order_release);
  return writer_->execute("PRAGMA incremental_vacuum(256)");
}

uint64_t SqliteStore::size_bytes() const { return file_size(options_.path) + file_size(options_.path + "-wal"); }

}  // namespace kcube::store
