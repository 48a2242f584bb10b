// Absolute URLs and paths, split as Go's net/url does.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pkg/base/status.h"

namespace kcube::cel {

struct ParsedUrl {
  std::string text;
  std::string scheme, host, escaped_path, raw_query;     // host with its port
  std::string hostname() const;
  std::string port() const;
  // Each name with its values, in order of appearance.
  std::vector<std::pair<std::string, std::vector<std::string>>> query() const;
};

// The error's message is Go's: `parse "x": invalid URI for request`.
Result<ParsedUrl> parse_url(std::string_view text);

}  // namespace kcube::cel
