// A disk in memory behind SQLite, for tests: what is written is told apart from what was synced, so that a test can cut the
// power; calls fail or the process dies at a step of the test's choice.
//
// The bytes are in shared memory: a test forks a child that works on the disk, lets it be killed and looks at what is left.
// One Disk is SQLite's default VFS while it is installed. Calls are serialized.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <random>
#include <string>

namespace kcube::store::testing {

using Random = std::mt19937_64;

enum class Fault : uint32_t { none, full, failed_sync, failed_read, short_write, failed_write };

// One file: what programs read, and what the disk would have after a power cut.
struct DiskFile {
  static constexpr size_t kMaxBytes = 4 << 20, kSector = 512;
  char name[200];
  bool exists, durable_exists;
  uint64_t size, durable_size;
  bool dirty[kMaxBytes / kSector];      // sectors written since the last sync that told the truth
  unsigned char bytes[kMaxBytes], durable[kMaxBytes];
};

struct DiskState {
  static constexpr size_t kFiles = 4;
  DiskFile files[kFiles];
  std::atomic<uint64_t> step;           // calls so far
  std::atomic<uint64_t> kill_at;        // the step in which the process dies; 0: never
  std::atomic<Fault> fault;             // what fails now
  // What is beside a written range survives a power cut (SQLITE_IOCAP_POWERSAFE_OVERWRITE), which SQLite expects of any
  // disk unless told otherwise; without it SQLite fills sectors up.
  std::atomic<bool> powersafe;
};

class Disk {
 public:
  Disk();
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  DiskState& state() { return *state_; }
  // Forgets everything: an empty disk.
  void format();
  // What a killed process leaves is what it wrote. After a power cut every sector that was not synced may be old or new.
  void cut_power(Random& random);
  // The same bytes as another disk has, synced or not, between two calls of whoever works on it.
  void copy_from(const Disk& other);
  // Locks and the memory of the WAL's index, which end with the last process that has the files open.
  void forget_processes();

 private:
  friend struct DiskVfs;
  DiskState* state_;
  sqlite3_vfs vfs_{};
  std::string name_;
  struct Locks;
  Locks* locks_;
  mutable std::mutex mutex_;
};

}  // namespace kcube::store::testing
