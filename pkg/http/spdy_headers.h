// SPDY/3 header blocks: name/value pairs under zlib with a preset dictionary, one zlib stream a direction and
// connection. One thread a direction.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "pkg/http/server.h"

namespace kcube::http {

class SpdyHeaderReader {
 public:
  SpdyHeaderReader();
  ~SpdyHeaderReader();
  // The headers of the next block; 400 when malformed or larger than 64 KiB: the connection is then lost, because the
  // blocks share one compression state.
  Result<Headers> read(std::string_view block);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class SpdyHeaderWriter {
 public:
  SpdyHeaderWriter();
  ~SpdyHeaderWriter();
  std::string write(const Headers& headers);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kcube::http
