// SQLite behind the few calls that the store needs: statements that are prepared once, errors as Status.
// A Database and its statements belong to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "pkg/base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace kcube::store {

// A prepared statement. bind() counts from 1, column() from 0; reset() before the next use.
class Statement {
 public:
  Statement() = default;
  Statement(sqlite3* database, const char* sql);
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  Statement& bind(int index, uint64_t value);
  Statement& bind_text(int index, std::string_view value);   // not copied: must live until reset()
  Statement& bind_blob(int index, std::string_view value);   // likewise
  // True when there is a row, false at the end.
  Result<bool> step();
  // For statements without rows; resets.
  Result<void> run();
  void reset();
  uint64_t number(int column) const;
  std::string_view text(int column) const;                   // valid until the next step() or reset()
  bool is_null(int column) const;

 private:
  sqlite3_stmt* statement_ = nullptr;
  std::string error_;
};

class Database {
 public:
  // Opens or creates. 500 with what to do when the file is no database or is damaged.
  static Result<std::unique_ptr<Database>> open(const std::string& path, bool read_only);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Result<void> execute(const char* sql);
  Result<uint64_t> query_number(const char* sql);
  Statement prepare(const char* sql) { return Statement(handle_, sql); }
  // Pages in the write-ahead log after the last commit, as seen by this connection.
  uint64_t wal_pages() const { return wal_pages_; }
  // Moves the log into the database, and writes it from its start again or truncates it; readers in the way make it partial,
  // which fails with 503.
  Result<void> restart_log();
  Result<void> empty_log();
  // Appends `step` bytes of zeros to the log's file when its end is near, unless it has `limit` bytes. Frames are told by
  // their checksums, so that what follows the last one does not matter. What fails is left to the next commit to tell.
  void lengthen_log(uint64_t step, uint64_t limit);
  // True after a write or sync that failed, until the log has been emptied: the kernel may hold pages for clean that
  // never reached the disk (fsync(2)), so that what is written behind them in the log would be lost with them.
  bool in_doubt() const { return in_doubt_; }
  void doubt() { in_doubt_ = true; }
  // Ends a transaction that could not be committed, so that the next one begins.
  void roll_back();

 private:
  explicit Database(sqlite3* handle);
  Result<void> checkpoint(int mode);

  sqlite3* handle_;
  uint64_t wal_pages_ = 0;
  uint64_t log_bytes_ = 0;   // of the log's file, when known
  bool in_doubt_ = false;
};

// The Status of the error that the connection reports: 507 with what to do when the disk is full.
Status sqlite_status(sqlite3* database, std::string_view what);

}  // namespace kcube::store
