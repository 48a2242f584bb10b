// cpp-httplib reads the headers; around it stand the checks that it leaves out. Its ways met here: it percent-decodes header
// values (so '%' is escaped before), and skips malformed lines (refused before). The request line is split here: httplib's
// own way to it, Server::process_request, composes an answer each time: 5 % of what the creation of a small object costs.
#include "pkg/http/request_parser.h"

#include <httplib.h>

#include <cstring>

#include "pkg/base/strings.h"

// In its compiled source, though not in its header.
namespace httplib::detail {
bool read_headers(Stream& stream, Headers& headers);
}  // namespace httplib::detail

namespace kcube::http {
namespace {

constexpr size_t kMaxLine = 8000;  // below httplib's limit of 8,192 with the line end

// Gives httplib the header lines.
class HeadStream final : public httplib::Stream {
 public:
  explicit HeadStream(std::string_view head) : head_(head) {}
  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* to, size_t size) override {
    size_t n = std::min(size, head_.size());
    std::memcpy(to, head_.data(), n);
    head_.remove_prefix(n);
    return static_cast<ssize_t>(n);
  }
  ssize_t write(const char*, size_t size) override { return static_cast<ssize_t>(size); }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  std::string_view head_;
};

bool is_token(std::string_view text) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  if (text.empty()) return false;
  for (char c : text)
    if (!(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z') && kMarks.find(c) == std::string_view::npos)
      return false;
  return true;
}

// RFC 9112 section 5: a name without spaces, no folded lines, no control characters.
Result<void> check_header_line(std::string_view line) {
  if (line.size() > kMaxLine) return fail(Status(431, "", "header field too large"));
  auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
    return fail(Status::bad_request("malformed header line"));
  // httplib drops headers without a value; for these two that would hide a contradiction.
  auto name = to_lower(line.substr(0, colon));
  if ((name == "content-length" || name == "transfer-encoding") && trim(line.substr(colon + 1)).empty())
    return fail(Status::bad_request("empty " + name));
  for (char c : line)
    if ((static_cast<unsigned char>(c) < 32 && c != '\t') || c == 127)
      return fail(Status::bad_request("invalid header value"));
  return {};
}

struct RequestLine {
  std::string_view method, target, version;
};

Result<RequestLine> split_request_line(std::string_view line) {
  auto first = line.find(' ');
  auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return fail(Status::bad_request("malformed request line"));
  RequestLine parts{line.substr(0, first), line.substr(first + 1, last - first - 1), line.substr(last + 1)};
  for (char c : parts.target)
    if (static_cast<unsigned char>(c) <= 32 || c == 127) return fail(Status::bad_request("malformed request target"));
  if (!is_token(parts.method)) return fail(Status::bad_request("invalid method"));
  if (parts.version != "HTTP/1.1" && parts.version != "HTTP/1.0")
    return fail(parts.version.starts_with("HTTP/") ? Status(505, "", "unsupported protocol version")
                                                   : Status::bad_request("malformed HTTP version"));
  return parts;
}

// The path of origin-form and absolute-form targets, and the query.
Result<void> read_target(std::string_view target, Request& request) {
  if (!target.starts_with('/')) {
    auto scheme = target.find("://");
    if (target == "*") {
      request.raw_path = request.path = "*";
      return {};
    }
    if (scheme == std::string_view::npos) return fail(Status::bad_request("malformed request target"));
    auto slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  auto question = target.find('?');
  request.raw_path = target.substr(0, question);
  if (question != std::string_view::npos) request.raw_query = target.substr(question + 1);
  if (request.raw_path.size() > kMaxLine) return fail(Status(414, "", "request URI too long"));
  request.path = percent_decode(request.raw_path, false);
  request.query = Query::parse(request.raw_query);
  return {};
}

// False when httplib cannot read them.
bool read_headers(std::string_view header_lines, Headers& to) {
  std::string escaped;
  if (header_lines.find('%') != std::string_view::npos) {
    for (char c : header_lines) c == '%' ? escaped.append("%25") : escaped.append(1, c);
    header_lines = escaped;
  }
  HeadStream stream(header_lines);
  httplib::Headers read;
  if (!httplib::detail::read_headers(stream, read)) return false;
  for (auto& [name, value] : read) to.add(name, std::move(value));
  return true;
}

// True when the comma-separated list of any `name` header has `token`.
bool lists_token(const Headers& headers, std::string_view name, std::string_view token) {
  for (auto value : headers.all(name))
    for (auto part : split(value, ','))
      if (to_lower(trim(part)) == token) return true;
  return false;
}

// RFC 9112 section 6.3, refusing what it allows to repair.
Result<void> read_framing(ParsedHead& head) {
  const Headers& headers = head.request.headers;
  auto lengths = headers.all("Content-Length");
  auto encodings = headers.all("Transfer-Encoding");
  if (!encodings.empty()) {
    if (!lengths.empty()) return fail(Status::bad_request("both Transfer-Encoding and Content-Length"));
    if (head.http10) return fail(Status::bad_request("Transfer-Encoding in HTTP/1.0"));
    if (encodings.size() != 1 || to_lower(encodings[0]) != "chunked")
      return fail(Status(501, "", "Unsupported transfer encoding"));
    head.chunked = true;
  }
  if (!lengths.empty()) {
    for (auto length : lengths)
      if (length != lengths[0]) return fail(Status::bad_request("different Content-Length headers"));
    auto value = lengths[0];
    bool digits = !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
    auto number = digits ? parse_int<uint64_t>(value) : std::nullopt;
    if (!number) return fail(Status::bad_request("bad Content-Length"));
    head.content_length = *number;
  }
  return {};
}

Result<void> read_connection(ParsedHead& head) {
  const Headers& headers = head.request.headers;
  auto hosts = headers.all("Host");
  if (hosts.size() > 1) return fail(Status::bad_request("too many Host headers"));
  if (hosts.empty() && !head.http10) return fail(Status::bad_request("missing required Host header"));
  head.keep_alive =
      head.http10 ? lists_token(headers, "Connection", "keep-alive") : !lists_token(headers, "Connection", "close");
  if (auto expect = headers.get("Expect"); !expect.empty()) {
    if (to_lower(expect) != "100-continue") return fail(Status(417, "", "Expectation Failed"));
    head.expect_continue = !head.http10;
  }
  return {};
}

// Checks each line of the head and counts them.
Result<void> check_header_lines(std::string_view lines, size_t max_headers) {
  size_t count = 0;
  while (lines != "\r\n") {
    auto end = lines.find("\r\n");
    if (end == std::string_view::npos) return fail(Status::bad_request("malformed header line"));
    if (++count > max_headers) return fail(Status(431, "", "too many header fields"));
    if (auto ok = check_header_line(lines.substr(0, end)); !ok) return ok;
    lines.remove_prefix(end + 2);
  }
  return {};
}

}  // namespace

Result<ParsedHead> parse_head(std::string_view head, size_t max_headers) {
  auto line_end = head.find("\r\n");
  if (line_end == std::string_view::npos) return fail(Status::bad_request("malformed request line"));
  auto line = split_request_line(head.substr(0, line_end));
  if (!line) return fail(line.error());
  auto header_lines = head.substr(line_end + 2);
  if (auto ok = check_header_lines(header_lines, max_headers); !ok) return fail(ok.error());

  ParsedHead parsed;
  if (auto ok = read_target(line->target, parsed.request); !ok) return fail(ok.error());
  if (!read_headers(header_lines, parsed.request.headers)) return fail(Status::bad_request("malformed request"));
  parsed.request.method = line->method;
  parsed.http10 = line->version == "HTTP/1.0";
  if (auto ok = read_framing(parsed); !ok) return fail(ok.error());
  if (auto ok = read_connection(parsed); !ok) return fail(ok.error());
  return parsed;
}

}  // namespace kcube::http
