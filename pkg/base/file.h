// Files: whole-file reads and writes, atomic replacement, trees. Paths are used as given; what comes from a stranger
// (image layers, tar streams) must be resolved beneath its root with open_beneath().
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::file {

// The whole file; fails with 413 when it is larger than `max_bytes`.
Result<std::string> read(const std::string& path, uint64_t max_bytes = uint64_t{64} << 20);
// Creates or truncates. Not atomic and not synced: for pseudo files and scratch.
Result<void> write(const std::string& path, std::string_view content, mode_t mode = 0644);
// Writes beside `path`, syncs and renames over it; with `mode` from the first byte on.
Result<void> write_atomic(const std::string& path, std::string_view content, mode_t mode = 0644);
Result<void> append(const std::string& path, std::string_view content, mode_t mode = 0644);

bool exists(const std::string& path);
bool is_directory(const std::string& path);
// mkdir -p; existing directories are fine.
Result<void> make_dirs(const std::string& path, mode_t mode = 0755);
// rm -rf without following symbolic links and without crossing into other mounts; a missing path is fine.
Result<void> remove_tree(const std::string& path);
// unlink; a missing file is fine.
Result<void> remove(const std::string& path);
Result<void> rename(const std::string& from, const std::string& to);
// Names (not paths), sorted, without "." and "..".
Result<std::vector<std::string>> list(const std::string& directory);

Result<Fd> open(const std::string& path, int flags, mode_t mode = 0);
// openat2(2) with RESOLVE_IN_ROOT: symbolic links and ".." cannot leave `root`.
Result<Fd> open_beneath(const Fd& root, const std::string& path, int flags, mode_t mode = 0);

// An exclusive flock(2) on `path`, held until the Fd closes; 409 when another process holds it.
Result<Fd> lock(const std::string& path);

}  // namespace kcube::file
