// Decodes a chunked request body as its bytes arrive (RFC 9112 section 7.1), strictly: what two parsers could read in
// two ways is refused. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kcube::http {

class ChunkDecoder {
 public:
  enum class State { more, done, malformed, too_large };
  explicit ChunkDecoder(uint64_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}
  // Appends what `input` decodes to onto `body` and sets `used` to the bytes consumed; trailers are dropped.
  State feed(std::string_view input, std::string& body, size_t& used);

 private:
  enum class At { size, extension, size_lf, data, data_cr, data_lf, trailer, trailer_lf };
  State step(char c);

  uint64_t max_body_bytes_;
  At at_ = At::size;
  uint64_t left_ = 0;  // of the chunk
  unsigned digits_ = 0;
  unsigned overhead_ = 0;  // bytes of extension or trailer seen
  unsigned line_ = 0;      // length of the trailer line
};

}  // namespace kcube::http
