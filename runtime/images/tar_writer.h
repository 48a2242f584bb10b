// Writes tar streams: ustar, with pax records where a name, number or xattr does not fit. Deterministic. One thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "runtime/images/tar_reader.h"

namespace kcube::runtime::images {

class TarWriter {
 public:
  using Sink = std::function<Result<void>(std::string_view)>;
  explicit TarWriter(Sink sink) : sink_(std::move(sink)) {}
  // The header; for files exactly `entry.size` bytes of data() must follow before the next entry.
  Result<void> add(const TarEntry& entry);
  Result<void> data(std::string_view bytes);
  // A file, whole.
  Result<void> add_file(const std::string& path, std::string_view content, uint32_t mode = 0644);
  // The two zero blocks.
  Result<void> finish();

 private:
  Result<void> pad();
  Result<void> header(const TarEntry& entry, char flag);

  Sink sink_;
  uint64_t left_ = 0, padding_ = 0;
};

}  // namespace kcube::runtime::images
