#include "pkg/cel/library/url_parser.h"

#include <algorithm>

#include "pkg/base/strings.h"
#include "pkg/cel/library/text.h"

namespace kcube::cel {
namespace {

bool alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool hex(char c) { return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// The first malformed %-sequence, or empty.
std::string bad_escape(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && (i + 2 >= text.size() || !hex(text[i + 1]) || !hex(text[i + 2]))) return std::string(text.substr(i, 3));
  }
  return "";
}

// "scheme" and the rest, or the reason why not.
std::string split_scheme(std::string_view text, std::string& scheme, std::string_view& rest) {
  rest = text;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (alpha(c)) continue;
    if (digit(c) || c == '+' || c == '-' || c == '.') {
      if (i == 0) return "";
      continue;
    }
    if (c != ':') return "";
    if (i == 0) return "missing protocol scheme";
    scheme = to_lower(text.substr(0, i));
    rest = text.substr(i + 1);
    return "";
  }
  return "";
}

std::string check_host(std::string_view host) {
  std::string_view port;
  if (host.starts_with('[')) {
    size_t end = host.rfind(']');
    if (end == std::string_view::npos) return "missing ']' in host";
    port = host.substr(end + 1);
  } else if (size_t colon = host.rfind(':'); colon != std::string_view::npos) {
    port = host.substr(colon);
  }
  bool valid = port.empty() || (port[0] == ':' && std::all_of(port.begin() + 1, port.end(), digit));
  if (!valid) return "invalid port " + quoted(port) + " after host";
  if (std::string bad = bad_escape(host); !bad.empty()) return "invalid URL escape " + quoted(bad);
  for (char c : host) {
    if (std::string_view(" \"<>\\^`{|}").find(c) != std::string_view::npos) return "invalid character " + quoted(std::string(1, c)) + " in host name";
  }
  return "";
}

std::string escape_path(std::string_view path) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    bool plain = alpha(c) || digit(c) || c == '%' || std::string_view("-_.~!$&'()*+,;=:@/[]").find(c) != std::string_view::npos;
    if (plain) out += c;
    else out += '%', out += digits[static_cast<unsigned char>(c) >> 4], out += digits[c & 15];
  }
  return out;
}

}  // namespace

std::string ParsedUrl::port() const {
  size_t colon = host.rfind(':');
  if (colon == std::string::npos || (host.starts_with('[') && colon < host.rfind(']'))) return "";
  return host.substr(colon + 1);
}

std::string ParsedUrl::hostname() const {
  std::string name = host;
  size_t colon = host.rfind(':');
  if (colon != std::string::npos && !(host.starts_with('[') && colon < host.rfind(']'))) name.resize(colon);
  if (name.size() > 1 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  return name;
}

std::vector<std::pair<std::string, std::vector<std::string>>> ParsedUrl::query() const {
  std::vector<std::pair<std::string, std::vector<std::string>>> out;
  if (raw_query.empty()) return out;
  for (std::string_view part : split(raw_query, '&')) {
    if (part.empty() || part.find(';') != std::string_view::npos || !bad_escape(part).empty()) continue;
    size_t equals = part.find('=');
    std::string name = percent_decode(part.substr(0, equals), true);
    std::string value = equals == std::string_view::npos ? "" : percent_decode(part.substr(equals + 1), true);
    auto known = std::ranges::find(out, name, &std::pair<std::string, std::vector<std::string>>::first);
    if (known == out.end()) known = out.insert(out.end(), {name, {}});
    known->second.push_back(std::move(value));
  }
  return out;
}

Result<ParsedUrl> parse_url(std::string_view text) {
  auto refuse = [&](std::string reason) { return fail(Status::bad_request("parse " + quoted(text) + ": " + reason)); };
  if (text.empty()) return refuse("empty url");
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return refuse("net/url: invalid control character in URL");
  }
  ParsedUrl url;
  url.text = std::string(text);
  std::string_view rest;
  if (std::string reason = split_scheme(text, url.scheme, rest); !reason.empty()) return refuse(reason);
  rest = rest.substr(0, rest.find('#'));
  if (!rest.starts_with('/')) {
    if (url.scheme.empty()) return refuse("invalid URI for request");
    return url;                              // "mailto:…" has no parts that anyone asks for
  }
  if (size_t mark = rest.find('?'); mark != std::string_view::npos) {
    url.raw_query = std::string(rest.substr(mark + 1));
    rest = rest.substr(0, mark);
  }
  if (rest.starts_with("//") && (!url.scheme.empty() || !rest.starts_with("///"))) {
    size_t slash = rest.find('/', 2);
    std::string_view authority = rest.substr(2, slash == std::string_view::npos ? slash : slash - 2);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
    if (size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
    if (std::string reason = check_host(authority); !reason.empty()) return refuse(reason);
    url.host = percent_decode(authority, false);
  }
  if (std::string bad = bad_escape(rest); !bad.empty()) return refuse("invalid URL escape " + quoted(bad));
  url.escaped_path = escape_path(rest);
  return url;
}

}  // namespace kcube::cel
