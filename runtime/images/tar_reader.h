// Reads tar streams of strangers: ustar, pax and GNU long names, bytes kept as they are (no locale). One thread.
//
// Own rather than a library's, because layers need the raw names, the xattrs and the hash of every byte, padding
// included. Source: POSIX.1-2017 pax, "ustar Interchange Format"; tar(5).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/images/source.h"

namespace kcube::runtime::images {

enum class TarType { file, hard_link, symlink, char_device, block_device, directory, fifo };

struct TarEntry {
  TarType type = TarType::file;
  std::string path, link;
  uint32_t mode = 0, uid = 0, gid = 0, major = 0, minor = 0;
  uint64_t size = 0;
  int64_t mtime = 0;
  uint32_t mtime_nanoseconds = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

class TarReader {
 public:
  // `source` must outlive the reader.
  explicit TarReader(ByteSource& source) : source_(source) {}
  // The next entry, what is unread of the one before skipped; false at the end. 400 when damaged.
  Result<bool> next(TarEntry& entry);
  // Data of the current entry; 0 at its end.
  Result<size_t> read(char* buffer, size_t size);
  // All data of the current entry; 413 beyond `max_bytes`.
  Result<std::string> read_all(uint64_t max_bytes);

 private:
  using Records = std::vector<std::pair<std::string, std::string>>;
  Result<size_t> read_full(char* buffer, size_t size);
  Result<void> skip_rest();
  Result<std::string> read_extension();
  Result<void> parse_records(Records& into);

  ByteSource& source_;
  uint64_t left_ = 0, padding_ = 0;
  Records global_;
};

}  // namespace kcube::runtime::images
