// URLs in parts, by libcurl's parser. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "pkg/base/status.h"

namespace kcube::http {

struct Url {
  std::string scheme, host;  // the host of an IPv6 literal without brackets
  uint16_t port = 0;
  std::string target;     // path and query
  std::string authority;  // as a Host header has it
};
// 400 when malformed or neither http nor https.
Result<Url> parse_url(const std::string& text);
// The text with the host replaced.
Result<std::string> with_host(const std::string& text, const std::string& host);

}  // namespace kcube::http
