#include "pkg/http/response.h"

#include <strings.h>

#include <ctime>
#include <utility>

namespace kcube::http {
namespace {

constexpr std::pair<int, std::string_view> kPhrases[] = {{100, "Continue"},
                                                         {101, "Switching Protocols"},
                                                         {200, "OK"},
                                                         {201, "Created"},
                                                         {202, "Accepted"},
                                                         {204, "No Content"},
                                                         {206, "Partial Content"},
                                                         {301, "Moved Permanently"},
                                                         {302, "Found"},
                                                         {303, "See Other"},
                                                         {304, "Not Modified"},
                                                         {307, "Temporary Redirect"},
                                                         {308, "Permanent Redirect"},
                                                         {400, "Bad Request"},
                                                         {401, "Unauthorized"},
                                                         {403, "Forbidden"},
                                                         {404, "Not Found"},
                                                         {405, "Method Not Allowed"},
                                                         {406, "Not Acceptable"},
                                                         {408, "Request Timeout"},
                                                         {409, "Conflict"},
                                                         {410, "Gone"},
                                                         {412, "Precondition Failed"},
                                                         {413, "Request Entity Too Large"},
                                                         {414, "Request URI Too Long"},
                                                         {415, "Unsupported Media Type"},
                                                         {417, "Expectation Failed"},
                                                         {422, "Unprocessable Entity"},
                                                         {426, "Upgrade Required"},
                                                         {429, "Too Many Requests"},
                                                         {431, "Request Header Fields Too Large"},
                                                         {500, "Internal Server Error"},
                                                         {501, "Not Implemented"},
                                                         {502, "Bad Gateway"},
                                                         {503, "Service Unavailable"},
                                                         {504, "Gateway Timeout"},
                                                         {505, "HTTP Version Not Supported"}};

// RFC 9110 section 5.6.7; formatted once a second and thread.
const std::string& http_date() {
  thread_local time_t when = 0;
  thread_local std::string text;
  time_t now = ::time(nullptr);
  if (now != when) {
    tm parts{};
    ::gmtime_r(&now, &parts);
    char buffer[40];
    text.assign(buffer, ::strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &parts));
    when = now;
  }
  return text;
}

void append_clean(std::string& to, std::string_view text) {
  size_t start = to.size();
  to.append(text);
  for (size_t i = start; i < to.size(); ++i)
    if (to[i] == '\r' || to[i] == '\n' || to[i] == '\0') to[i] = ' ';
}

// The body is framed by us, whatever a handler copied from an upstream's answer.
bool frames_body(std::string_view name) {
  static constexpr std::string_view kOurs[] = {"content-length", "transfer-encoding", "keep-alive"};
  for (auto ours : kOurs)
    if (name.size() == ours.size() && ::strncasecmp(name.data(), ours.data(), ours.size()) == 0) return true;
  return false;
}

void append_header(std::string& to, std::string_view name, std::string_view value) {
  append_clean(to, name);
  to.append(": ");
  append_clean(to, value);
  to.append("\r\n");
}

}  // namespace

std::string_view reason_phrase(int status) {
  for (const auto& [code, phrase] : kPhrases)
    if (code == status) return phrase;
  return "Unknown";
}

void append_headers(std::string& to, const Headers& headers) {
  for (const auto& [name, value] : headers.items()) append_header(to, name, value);
}

std::string response_head(int status, const Headers& headers, const HeadOptions& options, size_t extra) {
  std::string head;
  head.reserve(192 + headers.items().size() * 64 + extra);
  head.append(options.http10 ? "HTTP/1.0 " : "HTTP/1.1 ").append(std::to_string(status)).append(" ");
  head.append(reason_phrase(status)).append("\r\n");
  for (const auto& [name, value] : headers.items())
    if (!frames_body(name)) append_header(head, name, value);
  if (!headers.has("Date")) head.append("Date: ").append(http_date()).append("\r\n");
  if (options.chunked) head.append("Transfer-Encoding: chunked\r\n");
  if (options.content_length && status != 204 && status != 304)
    head.append("Content-Length: ").append(std::to_string(*options.content_length)).append("\r\n");
  if (headers.has("Connection")) return head.append("\r\n");
  if (!options.keep_alive)
    head.append("Connection: close\r\n");
  else if (options.http10)
    head.append("Connection: keep-alive\r\n");
  return head.append("\r\n");
}

std::string json_quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out.append({'\\', c});
    else if (c == '\n')
      out.append("\\n");
    else if (byte < 32)
      out.append({'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]});
    else
      out.push_back(c);
  }
  return out.append("\"");
}

std::string status_json(const Status& status) {
  return "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":" +
         json_quote(status.message()) + ",\"reason\":" + json_quote(status.reason()) +
         ",\"code\":" + std::to_string(status.code()) + "}\n";
}

std::string refusal(const Status& status) {
  bool api = !status.reason().empty() && status.code() != 400;
  std::string body =
      api ? status_json(status)
          : std::to_string(status.code()) + " " + std::string(reason_phrase(status.code())) + ": " + status.message();
  Headers headers;
  headers.add("Content-Type", api ? "application/json" : "text/plain; charset=utf-8");
  return response_head(status.code(), headers, {.keep_alive = false, .content_length = body.size()}, body.size()) +
         body;
}

}  // namespace kcube::http
