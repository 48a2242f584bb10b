// Response heads and the answers that the server gives by itself. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pkg/http/server.h"

namespace kcube::http {

struct HeadOptions {
  bool http10 = false;
  bool keep_alive = true;
  bool chunked = false;
  std::optional<uint64_t> content_length;
};

std::string_view reason_phrase(int status);
// Status line, `headers`, Date, framing and the empty line; `extra` bytes of room are kept for a body behind it.
std::string response_head(int status, const Headers& headers, const HeadOptions& options, size_t extra = 0);
// "Name: value\r\n…" without line breaks inside names or values.
void append_headers(std::string& to, const Headers& headers);
// A whole answer that ends the connection: metav1.Status for 413, plain text otherwise.
std::string refusal(const Status& status);
// `status` as metav1.Status JSON.
std::string status_json(const Status& status);
std::string json_quote(std::string_view text);

}  // namespace kcube::http
