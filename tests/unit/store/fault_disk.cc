#include "tests/unit/store/fault_disk.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace kcube::store::testing {
namespace {

constexpr int kShmSlots = SQLITE_SHM_NLOCK;

struct FileLocks {
  int shared = 0;
  const void* reserved = nullptr;
  const void* pending = nullptr;
  const void* exclusive = nullptr;
  int shm_shared[kShmSlots] = {};
  const void* shm_exclusive[kShmSlots] = {};
  std::vector<std::unique_ptr<unsigned char[]>> regions;
  int shm_users = 0;
};

struct OpenFile {
  sqlite3_file base;
  Disk* disk;
  int index;
  int level;
  bool has_shm, dir_sync;
  uint32_t shm_shared, shm_exclusive;   // slots held
};

OpenFile& open_file(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }

}  // namespace

struct Disk::Locks {
  FileLocks files[DiskState::kFiles];
};

// The calls of SQLite's VFS; each is one step.
struct DiskVfs {
  static DiskFile& file(OpenFile& f) { return f.disk->state_->files[f.index]; }
  static FileLocks& locks(OpenFile& f) { return f.disk->locks_->files[f.index]; }

  // True when the process is to die within this call.
  static bool last_step(Disk& disk) { return ++disk.state_->step == disk.state_->kill_at; }
  [[noreturn]] static void die() {
    ::kill(::getpid(), SIGKILL);
    while (true) ::pause();
  }
  static bool faulty(Disk& disk, Fault fault) {
    return disk.state_->fault == fault;
  }

  static void store(DiskFile& f, const void* from, size_t n, size_t offset) {
    if (offset > f.size) std::memset(f.bytes + f.size, 0, offset - f.size);
    std::memcpy(f.bytes + offset, from, n);
    for (size_t s = offset / DiskFile::kSector; n > 0 && s <= (offset + n - 1) / DiskFile::kSector; ++s) f.dirty[s] = true;
    f.size = std::max(f.size, static_cast<uint64_t>(offset + n));
  }

  static int find(Disk& disk, std::string_view name, bool create) {
    int free = -1;
    for (int i = 0; i < static_cast<int>(DiskState::kFiles); ++i) {
      DiskFile& f = disk.state_->files[i];
      if (f.name == name) {
        if (f.exists || create) return i;
        return -1;
      }
      if (f.name[0] == 0 && free < 0) free = i;
    }
    if (!create || free < 0) return -1;
    name.copy(disk.state_->files[free].name, sizeof(DiskFile::name) - 1);
    return free;
  }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* raw, int flags, int* out_flags) {
    Disk& disk = *static_cast<Disk*>(vfs->pAppData);
    std::lock_guard lock(disk.mutex_);
    raw->pMethods = nullptr;
    if (last_step(disk)) die();
    int index = name == nullptr ? -1 : find(disk, name, (flags & SQLITE_OPEN_CREATE) != 0);
    if (index < 0) return SQLITE_CANTOPEN;
    DiskFile& f = disk.state_->files[index];
    if (!f.exists) f.size = 0;
    f.exists = true;
    // As SQLite's own VFS: the first sync of a new journal syncs the directory, too.
    bool journal = (flags & SQLITE_OPEN_CREATE) && (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL));
    new (raw) OpenFile{{methods()}, &disk, index, SQLITE_LOCK_NONE, false, journal, 0, 0};
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
  }

  static int close(sqlite3_file* raw) {
    unlock(raw, SQLITE_LOCK_NONE);
    return SQLITE_OK;
  }

  static int read(sqlite3_file* raw, void* to, int n, sqlite3_int64 offset) {
    OpenFile& o = open_file(raw);
    std::lock_guard lock(o.disk->mutex_);
    if (last_step(*o.disk)) die();
    if (faulty(*o.disk, Fault::failed_read)) return SQLITE_IOERR_READ;
    DiskFile& f = file(o);
    size_t at = static_cast<size_t>(offset), have = at < f.size ? std::min<size_t>(static_cast<size_t>(n), f.size - at) : 0;
    std::memcpy(to, f.bytes + at, have);
    std::memset(static_cast<char*>(to) + have, 0, static_cast<size_t>(n) - have);
    return have == static_cast<size_t>(n) ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }

  static int write(sqlite3_file* raw, const void* from, int n, sqlite3_int64 offset) {
    OpenFile& o = open_file(raw);
    std::lock_guard lock(o.disk->mutex_);
    DiskFile& f = file(o);
    size_t bytes = static_cast<size_t>(n), at = static_cast<size_t>(offset);
    if (at + bytes > DiskFile::kMaxBytes) return SQLITE_FULL;
    if (last_step(*o.disk)) {
      store(f, from, bytes / 2, at);
      die();
    }
    // A full disk takes what lies within the file already.
    if (at + bytes > f.size && faulty(*o.disk, Fault::full)) return SQLITE_FULL;
    if (faulty(*o.disk, Fault::failed_write)) return SQLITE_IOERR_WRITE;
    if (faulty(*o.disk, Fault::short_write)) {
      store(f, from, bytes / 3, at);
      return SQLITE_IOERR_WRITE;
    }
    store(f, from, bytes, at);
    return SQLITE_OK;
  }

  static int truncate(sqlite3_file* raw, sqlite3_int64 size) {
    OpenFile& o = open_file(raw);
    std::lock_guard lock(o.disk->mutex_);
    if (last_step(*o.disk)) die();
    DiskFile& f = file(o);
    f.size = std::min(f.size, static_cast<uint64_t>(size));
    return SQLITE_OK;
  }

  // A sync that fails has lost what it was to write: the kernel takes those pages for clean (fsync(2), NOTES).
  static int sync(sqlite3_file* raw, int) {
    OpenFile& o = open_file(raw);
    std::lock_guard lock(o.disk->mutex_);
    if (last_step(*o.disk)) die();
    DiskFile& f = file(o);
    bool failed = faulty(*o.disk, Fault::failed_sync);
    size_t sectors = (std::max(f.size, f.durable_size) + DiskFile::kSector - 1) / DiskFile::kSector;
    if (!failed && f.size > f.durable_size) std::memset(f.durable + f.durable_size, 0, f.size - f.durable_size);
    for (size_t s = 0; s < sectors; ++s) {
      if (!f.dirty[s]) continue;
      f.dirty[s] = false;
      if (!failed) std::memcpy(f.durable + s * DiskFile::kSector, f.bytes + s * DiskFile::kSector, DiskFile::kSector);
    }
    if (failed) return SQLITE_IOERR_FSYNC;
    f.durable_size = f.size;
    if (o.dir_sync) sync_directory(*o.disk);
    o.dir_sync = false;
    return SQLITE_OK;
  }

  // Names that came and went are durable; what is in new files is not.
  static void sync_directory(Disk& disk) {
    for (DiskFile& f : disk.state_->files) {
      f.durable_exists = f.exists;
      if (!f.exists) f.durable_size = 0;
    }
  }

  static int size(sqlite3_file* raw, sqlite3_int64* out) {
    OpenFile& o = open_file(raw);
    std::lock_guard lock(o.disk->mutex_);
    *out = static_cast<sqlite3_int64>(file(o).size);
    return SQLITE_OK;
  }

  // --- Locks: as on one machine with one process ------------------------------------------------------------------------

  static int lock(sqlite3_file* raw, int level) {
    OpenFile& o = open_file(raw);
    std::lock_guard guard(o.disk->mutex_);
    FileLocks& l = locks(o);
    auto others = [&](const void* owner) { return owner != nullptr && owner != raw; };
    if (o.level >= level) return SQLITE_OK;
    if (level == SQLITE_LOCK_SHARED) {
      if (others(l.pending) || others(l.exclusive)) return SQLITE_BUSY;
      ++l.shared;
    } else if (level == SQLITE_LOCK_RESERVED) {
      if (others(l.reserved)) return SQLITE_BUSY;
      l.reserved = raw;
    } else {
      if (others(l.pending) || others(l.exclusive) || others(l.reserved)) return SQLITE_BUSY;
      l.pending = raw;
      if (l.shared > (o.level >= SQLITE_LOCK_SHARED ? 1 : 0)) return SQLITE_BUSY;
      if (level == SQLITE_LOCK_EXCLUSIVE) l.exclusive = raw;
    }
    o.level = level;
    return SQLITE_OK;
  }

  static int unlock(sqlite3_file* raw, int level) {
    OpenFile& o = open_file(raw);
    std::lock_guard guard(o.disk->mutex_);
    FileLocks& l = locks(o);
    for (const void** owner : {&l.reserved, &l.pending, &l.exclusive})
      if (*owner == raw) *owner = nullptr;
    if (level == SQLITE_LOCK_NONE && o.level >= SQLITE_LOCK_SHARED) --l.shared;
    o.level = std::min(o.level, level);
    return SQLITE_OK;
  }

  static int check_reserved(sqlite3_file* raw, int* out) {
    OpenFile& o = open_file(raw);
    std::lock_guard guard(o.disk->mutex_);
    *out = locks(o).reserved != nullptr || locks(o).exclusive != nullptr;
    return SQLITE_OK;
  }

  static int control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int sector_size(sqlite3_file*) { return DiskFile::kSector; }
  static int characteristics(sqlite3_file* raw) { return open_file(raw).disk->state_->powersafe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0; }

  // --- The WAL's index --------------------------------------------------------------------------------------------------

  static int shm_map(sqlite3_file* raw, int region, int bytes, int extend, void volatile** out) {
    OpenFile& o = open_file(raw);
    std::lock_guard guard(o.disk->mutex_);
    FileLocks& l = locks(o);
    if (!o.has_shm) ++l.shm_users;
    o.has_shm = true;
    while (static_cast<int>(l.regions.size()) <= region) {
      if (!extend) {
        *out = nullptr;
        return SQLITE_OK;
      }
      l.regions.push_back(std::make_unique<unsigned char[]>(static_cast<size_t>(bytes)));
    }
    *out = l.regions[static_cast<size_t>(region)].get();
    return SQLITE_OK;
  }

  static int shm_lock(sqlite3_file* raw, int offset, int n, int flags) {
    OpenFile& o = open_file(raw);
    std::lock_guard guard(o.disk->mutex_);
    FileLocks& l = locks(o);
    for (int i = offset; i < offset + n && (flags & SQLITE_SHM_LOCK); ++i) {
      bool mine_shared = o.shm_shared & (1U << i), mine = o.shm_exclusive & (1U << i);
      if (l.shm_exclusive[i] != nullptr && !mine) return SQLITE_BUSY;
      if ((flags & SQLITE_SHM_EXCLUSIVE) && l.shm_shared[i] > (mine_shared ? 1 : 0)) return SQLITE_BUSY;
    }
    for (int i = offset; i < offset + n; ++i) {
      uint32_t bit = 1U << i;
      if (flags & SQLITE_SHM_UNLOCK) {
        if (o.shm_shared & bit) --l.shm_shared[i];
        if (o.shm_exclusive & bit) l.shm_exclusive[i] = nullptr;
        o.shm_shared &= ~bit;
        o.shm_exclusive &= ~bit;
      } else if (flags & SQLITE_SHM_EXCLUSIVE) {
        l.shm_exclusive[i] = raw;
        o.shm_exclusive |= bit;
      } else if (!(o.shm_shared & bit)) {
        ++l.shm_shared[i];
        o.shm_shared |= bit;
      }
    }
    return SQLITE_OK;
  }

  static void shm_barrier(sqlite3_file* raw) { std::lock_guard guard(open_file(raw).disk->mutex_); }

  static int shm_unmap(sqlite3_file* raw, int) {
    OpenFile& o = open_file(raw);
    std::lock_guard guard(o.disk->mutex_);
    FileLocks& l = locks(o);
    if (o.has_shm && --l.shm_users == 0) l.regions.clear();
    o.has_shm = false;
    return SQLITE_OK;
  }

  static const sqlite3_io_methods* methods() {
    static const sqlite3_io_methods table = [] {
      sqlite3_io_methods m{};
      m.iVersion = 2;
      m.xClose = close;
      m.xRead = read;
      m.xWrite = write;
      m.xTruncate = truncate;
      m.xSync = sync;
      m.xFileSize = size;
      m.xLock = lock;
      m.xUnlock = unlock;
      m.xCheckReservedLock = check_reserved;
      m.xFileControl = control;
      m.xSectorSize = sector_size;
      m.xDeviceCharacteristics = characteristics;
      m.xShmMap = shm_map;
      m.xShmLock = shm_lock;
      m.xShmBarrier = shm_barrier;
      m.xShmUnmap = shm_unmap;
      return m;
    }();
    return &table;
  }

  // --- Names ------------------------------------------------------------------------------------------------------------

  static int remove(sqlite3_vfs* vfs, const char* name, int durably) {
    Disk& disk = *static_cast<Disk*>(vfs->pAppData);
    std::lock_guard lock(disk.mutex_);
    if (last_step(disk)) die();
    int index = find(disk, name, false);
    if (index < 0) return SQLITE_IOERR_DELETE_NOENT;
    DiskFile& f = disk.state_->files[index];
    f.exists = false;
    f.size = 0;
    if (durably) sync_directory(disk);
    return SQLITE_OK;
  }

  static int access(sqlite3_vfs* vfs, const char* name, int, int* out) {
    Disk& disk = *static_cast<Disk*>(vfs->pAppData);
    std::lock_guard lock(disk.mutex_);
    int index = find(disk, name, false);
    *out = index >= 0;
    return SQLITE_OK;
  }

  static int full_path(sqlite3_vfs*, const char* name, int n, char* out) {
    sqlite3_snprintf(n, out, "%s", name);
    return SQLITE_OK;
  }
  static int last_error(sqlite3_vfs*, int, char*) { return 0; }
};

Disk::Disk() : locks_(new Locks) {
  void* shared = ::mmap(nullptr, sizeof(DiskState), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (shared == MAP_FAILED) std::abort();
  state_ = new (shared) DiskState;
  static std::atomic<int> number{0};
  name_ = "faulty-" + std::to_string(++number);
  sqlite3_vfs* real = sqlite3_vfs_find("unix");
  vfs_ = *real;   // clocks, randomness, sleep
  vfs_.pNext = nullptr;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.szOsFile = sizeof(OpenFile);
  vfs_.xOpen = DiskVfs::open;
  vfs_.xDelete = DiskVfs::remove;
  vfs_.xAccess = DiskVfs::access;
  vfs_.xFullPathname = DiskVfs::full_path;
  vfs_.xGetLastError = DiskVfs::last_error;
  sqlite3_vfs_register(&vfs_, 1);
}

Disk::~Disk() {
  sqlite3_vfs_unregister(&vfs_);
  delete locks_;
  ::munmap(state_, sizeof(DiskState));
}

void Disk::forget_processes() {
  delete locks_;
  locks_ = new Locks;
}

void Disk::format() {
  forget_processes();
  for (DiskFile& f : state_->files) {
    f.name[0] = 0;
    std::memset(f.name, 0, sizeof f.name);
    f.exists = f.durable_exists = false;
    f.size = f.durable_size = 0;
    std::memset(f.dirty, 0, sizeof f.dirty);
  }
  state_->step = 0;
  state_->kill_at = 0;
  state_->fault = Fault::none;
  state_->powersafe = false;
}

void Disk::copy_from(const Disk& other) {
  format();
  std::lock_guard lock(other.mutex_);
  state_->powersafe = other.state_->powersafe.load();
  for (size_t i = 0; i < DiskState::kFiles; ++i) {
    const DiskFile& from = other.state_->files[i];
    DiskFile& to = state_->files[i];
    std::memcpy(to.name, from.name, sizeof to.name);
    to.exists = from.exists;
    to.durable_exists = from.durable_exists;
    to.size = from.size;
    to.durable_size = from.durable_size;
    std::memcpy(to.dirty, from.dirty, sizeof to.dirty);
    std::memcpy(to.bytes, from.bytes, std::max(from.size, from.durable_size));
    std::memcpy(to.durable, from.durable, std::max(from.size, from.durable_size));
  }
}

void Disk::cut_power(Random& random) {
  // Nothing, anything or everything of what was not synced has reached the disk.
  unsigned keep = std::uniform_int_distribution<unsigned>(0, 2)(random);
  auto lucky = [&] { return keep == 2 || (keep == 1 && (random() & 1)); };
  for (DiskFile& f : state_->files) {
    // Names that came or went since the directory was synced may be or not.
    bool exists = f.exists == f.durable_exists || lucky() ? f.exists : f.durable_exists;
    if (!exists) {
      f.exists = false;
      f.size = f.durable_size = 0;
      std::memset(f.dirty, 0, sizeof f.dirty);
      continue;
    }
    uint64_t size = lucky() ? f.size : f.durable_size, both = std::max(f.size, f.durable_size);
    if (size > f.durable_size) std::memset(f.durable + f.durable_size, 0, size - f.durable_size);
    for (size_t s = 0; s * DiskFile::kSector < both; ++s)
      if (f.dirty[s] && s * DiskFile::kSector < size && lucky())
        std::memcpy(f.durable + s * DiskFile::kSector, f.bytes + s * DiskFile::kSector, DiskFile::kSector);
    std::memcpy(f.bytes, f.durable, size);
    std::memset(f.dirty, 0, sizeof f.dirty);
    f.size = f.durable_size = size;
    f.exists = f.durable_exists = true;
  }
  state_->kill_at = 0;
  state_->fault = Fault::none;
}

}  // namespace kcube::store::testing
