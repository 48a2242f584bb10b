// From the bytes of a request head to a Request and the way its body is framed. Pure; any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "pkg/base/status.h"
#include "pkg/http/server.h"

namespace kcube::http {

struct ParsedHead {
  Request request;  // all but the body and what the connection knows
  uint64_t content_length = 0;
  bool chunked = false;
  bool expect_continue = false;
  bool keep_alive = true;
  bool http10 = false;
};

// `head` ends with the empty line. Fails with 400, 414, 417, 431, 501 or 505: the connection cannot be used further,
// because where the next request starts is not known.
Result<ParsedHead> parse_head(std::string_view head, size_t max_headers);

}  // namespace kcube::http
