// Byte sources: files, memory, and decompression on top. One thread each.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"
#include "runtime/images/digest.h"

namespace kcube::runtime::images {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // At most `size` bytes; 0 at the end.
  virtual Result<size_t> read(char* buffer, size_t size) = 0;
};

enum class Compression { none, gzip, zstd };
// From the first bytes; four are enough.
Compression sniff(std::string_view head);

std::unique_ptr<ByteSource> from_fd(Fd fd, std::string name);
// `bytes` must outlive the source.
std::unique_ptr<ByteSource> from_memory(std::string_view bytes);
// The content of `inner` without its gzip or zstd, whichever is found; 400 when that is damaged.
Result<std::unique_ptr<ByteSource>> decompressed(std::unique_ptr<ByteSource> inner);
// Passes bytes on and hashes them. `hash` must outlive the source.
std::unique_ptr<ByteSource> hashed(std::unique_ptr<ByteSource> inner, Sha256* hash);
// Reads what is left and throws it away.
Result<void> drain(ByteSource& source);

}  // namespace kcube::runtime::images
