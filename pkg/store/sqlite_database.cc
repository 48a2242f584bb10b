#include "pkg/store/sqlite_database.h"

#include <sqlite3.h>

#include <cerrno>
#include <utility>

namespace kcube::store {
namespace {

constexpr uint64_t kLogFrameBytes = 4096 + 24;   // a page and its header

}  // namespace

Status sqlite_status(sqlite3* database, std::string_view what) {
  int code = sqlite3_errcode(database);
  std::string message = std::string(what) + ": " + sqlite3_errmsg(database);
  // With delayed allocation a full disk shows in fsync, and in the WAL's index.
  int system = sqlite3_system_errno(database);
  if (code == SQLITE_FULL || (code == SQLITE_IOERR && (system == ENOSPC || system == EDQUOT)))
    return {507, "InsufficientStorage", message + " (free space on the disk of the data directory: writes are accepted again as soon as there is some)"};
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) message += " (the file is damaged: restore it from a snapshot)";
  return Status::internal(std::move(message));
}

Statement::Statement(sqlite3* database, const char* sql) {
  if (sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) != SQLITE_OK)
    error_ = sqlite3_errmsg(database);
}

Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)), error_(std::move(other.error_)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(statement_, other.statement_);
  std::swap(error_, other.error_);
  return *this;
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int index, uint64_t value) {
  sqlite3_bind_int64(statement_, index, static_cast<sqlite3_int64>(value));
  return *this;
}

Statement& Statement::bind_text(int index, std::string_view value) {
  sqlite3_bind_text(statement_, index, value.data() ? value.data() : "", static_cast<int>(value.size()), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind_blob(int index, std::string_view value) {
  sqlite3_bind_blob(statement_, index, value.data() ? value.data() : "", static_cast<int>(value.size()), SQLITE_STATIC);
  return *this;
}

Result<bool> Statement::step() {
  if (statement_ == nullptr) return fail(Status::internal("store: " + error_));
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return fail(sqlite_status(sqlite3_db_handle(statement_), "store"));
}

Result<void> Statement::run() {
  auto row = step();
  reset();
  if (!row) return fail(row.error());
  return {};
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

uint64_t Statement::number(int column) const { return static_cast<uint64_t>(sqlite3_column_int64(statement_, column)); }

std::string_view Statement::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  return {static_cast<const char*>(bytes), static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Database::Database(sqlite3* handle) : handle_(handle) {
  // Replaces the hook of automatic checkpoints, too.
  sqlite3_wal_hook(
      handle_,
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Database*>(self)->wal_pages_ = static_cast<uint64_t>(pages);
        return SQLITE_OK;
      },
      this);
}

Database::~Database() { sqlite3_close_v2(handle_); }

Result<std::unique_ptr<Database>> Database::open(const std::string& path, bool read_only) {
  sqlite3* handle = nullptr;
  int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path.c_str(), &handle, flags, nullptr) != SQLITE_OK) {
    Status status = sqlite_status(handle, "open " + path);
    sqlite3_close_v2(handle);
    return fail(std::move(status));
  }
  sqlite3_busy_timeout(handle, 5000);
  return std::unique_ptr<Database>(new Database(handle));
}

Result<void> Database::execute(const char* sql) {
  int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return {};
  if ((code & 0xff) == SQLITE_IOERR) in_doubt_ = true;
  return fail(sqlite_status(handle_, "store"));
}

void Database::roll_back() {
  // After some errors SQLite has done so by itself.
  if (!sqlite3_get_autocommit(handle_)) sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
}

Result<uint64_t> Database::query_number(const char* sql) {
  Statement statement = prepare(sql);
  auto row = statement.step();
  if (!row) return fail(row.error());
  return *row ? statement.number(0) : 0;
}

Result<void> Database::checkpoint(int mode) {
  int code = sqlite3_wal_checkpoint_v2(handle_, nullptr, mode, nullptr, nullptr);
  if (code == SQLITE_OK) {
    wal_pages_ = 0;
    in_doubt_ = false;
    return {};
  }
  if ((code & 0xff) == SQLITE_BUSY) return fail(Status::unavailable("store: a reader keeps the log from being checkpointed"));
  if ((code & 0xff) == SQLITE_IOERR) in_doubt_ = true;
  return fail(sqlite_status(handle_, "store: checkpoint"));
}

Result<void> Database::restart_log() { return checkpoint(SQLITE_CHECKPOINT_RESTART); }

Result<void> Database::empty_log() {
  log_bytes_ = 0;
  return checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
}

void Database::lengthen_log(uint64_t step, uint64_t limit) {
  const uint64_t used = wal_pages_ * kLogFrameBytes;
  if (used + step / 4 <= log_bytes_ || log_bytes_ >= limit) return;
  sqlite3_file* log = nullptr;
  sqlite3_int64 size = 0;
  if (sqlite3_file_control(handle_, nullptr, SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&log)) != SQLITE_OK || log == nullptr || log->pMethods == nullptr) return;
  if (log->pMethods->xFileSize(log, &size) != SQLITE_OK || size == 0) return;
  log_bytes_ = static_cast<uint64_t>(size);
  if (used + step / 4 <= log_bytes_ || log_bytes_ >= limit) return;
  const std::string zeros(step, '\0');
  if (log->pMethods->xWrite(log, zeros.data(), static_cast<int>(step), size) == SQLITE_OK) log_bytes_ += step;
  else log_bytes_ = limit;  // until it is emptied: a full disk is not asked again and again
}

}  // namespace kcube::store
