// The string formats that the real server knows. Source: the formats listed in the Kubernetes docs on validation of custom
// resources; the RFCs of each.
#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <regex>
#include <string>

#include "pkg/api/names.h"
#include "pkg/apiserver/extension/schema_check.h"
#include "pkg/base/clock.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::extension {
namespace {

bool all_hex(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c); });
}

bool ipv4(std::string_view text) {
  in_addr address;
  return ::inet_pton(AF_INET, std::string(text).c_str(), &address) == 1;
}
bool ipv6(std::string_view text) {
  in6_addr address;
  return ::inet_pton(AF_INET6, std::string(text).c_str(), &address) == 1;
}
bool cidr(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  auto bits = parse_int<int>(text.substr(slash + 1));
  std::string_view host = text.substr(0, slash);
  return bits && *bits >= 0 && ((ipv4(host) && *bits <= 32) || (ipv6(host) && *bits <= 128));
}
bool mac(std::string_view text) {
  for (char separator : {':', '-'}) {
    auto parts = split(text, separator);
    if ((parts.size() == 6 || parts.size() == 8 || parts.size() == 20) && std::ranges::all_of(parts, [](std::string_view p) { return p.size() == 2 && all_hex(p); })) return true;
  }
  auto parts = split(text, '.');
  return (parts.size() == 3 || parts.size() == 4 || parts.size() == 10) && std::ranges::all_of(parts, [](std::string_view p) { return p.size() == 4 && all_hex(p); });
}
// `version` '0': any.
bool uuid_of(std::string_view text, char version) {
  std::string digits;
  for (char c : text)
    if (c != '-') digits += c;
  bool dashed = text.size() == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-';
  if (digits.size() != 32 || !all_hex(digits) || !(dashed || text.size() == 32)) return false;
  if (version == '0') return true;
  char variant = static_cast<char>(std::tolower(static_cast<unsigned char>(digits[16])));
  return digits[12] == version && (version == '3' || variant == '8' || variant == '9' || variant == 'a' || variant == 'b');
}
bool date(std::string_view text) {
  CalendarTime t;
  return text.size() == 10 && parse_calendar_time(std::string(text) + "T00:00:00Z", t);
}
bool date_time(std::string_view text) {
  CalendarTime t;
  return text.size() >= 20 && parse_calendar_time(text, t);
}
// Go's durations ("1h30m") and, as the library does, numbers with long units ("3 days").
bool duration(std::string_view text) {
  static const std::regex go(R"([+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*|[+-]?0)");
  static const std::regex words(R"(\s*(\d+(\.\d*)?)\s*(ns|nano|us|µs|micro|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|wk|week)s?.*)");
  return text.size() < 128 && (std::regex_match(text.begin(), text.end(), go) || std::regex_match(text.begin(), text.end(), words));
}
bool email(std::string_view text) {
  size_t at = text.rfind('@');
  return at != std::string_view::npos && at > 0 && at + 1 < text.size() && text.find_first_of(" \t\r\n") == std::string_view::npos;
}
bool uri(std::string_view text) {
  if (text.empty() || text.find(' ') != std::string_view::npos) return false;
  if (text[0] == '/') return true;
  size_t colon = text.find(':');
  return colon != std::string_view::npos && colon > 0 && std::isalpha(static_cast<unsigned char>(text[0]));
}
bool hostname(std::string_view text) {
  if (text.empty() || text.size() > 255) return false;
  std::string_view rest = text.ends_with('.') ? text.substr(0, text.size() - 1) : text;
  for (std::string_view label : split(rest, '.')) {
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    if (!std::ranges::all_of(label, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c >= 0x80; })) return false;
  }
  return true;
}
std::string digits_of(std::string_view text) {
  std::string out;
  for (char c : text)
    if (c != '-' && c != ' ') out += c;
  return out;
}
bool isbn10(std::string_view text) {
  std::string d = digits_of(text);
  if (d.size() != 10) return false;
  int sum = 0;
  for (int i = 0; i < 10; ++i) {
    bool x = i == 9 && (d[9] == 'X');
    if (!x && !std::isdigit(static_cast<unsigned char>(d[i]))) return false;
    sum += (x ? 10 : d[i] - '0') * (10 - i);
  }
  return sum % 11 == 0;
}
bool isbn13(std::string_view text) {
  std::string d = digits_of(text);
  if (d.size() != 13) return false;
  int sum = 0;
  for (int i = 0; i < 13; ++i) {
    if (!std::isdigit(static_cast<unsigned char>(d[i]))) return false;
    sum += (d[i] - '0') * (i % 2 == 0 ? 1 : 3);
  }
  return sum % 10 == 0;
}
bool credit_card(std::string_view text) {
  std::string d = digits_of(text);
  if (d.size() < 12 || d.size() > 19) return false;
  int sum = 0;
  for (size_t i = 0; i < d.size(); ++i) {
    if (!std::isdigit(static_cast<unsigned char>(d[i]))) return false;
    int n = d[d.size() - 1 - i] - '0';
    if (i % 2 == 1 && (n *= 2) > 9) n -= 9;
    sum += n;
  }
  return sum % 10 == 0;
}
bool ssn(std::string_view text) {
  return text.size() == 11 && (text[3] == '-' || text[3] == ' ') && (text[6] == '-' || text[6] == ' ') && digits_of(text).size() == 9 &&
         std::ranges::all_of(digits_of(text), [](unsigned char c) { return std::isdigit(c); });
}
bool hex_color(std::string_view text) {
  if (text.starts_with('#')) text.remove_prefix(1);
  return (text.size() == 3 || text.size() == 6) && all_hex(text);
}
bool rgb_color(std::string_view text) {
  static const std::regex rgb(R"(rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\))");
  std::cmatch m;
  if (text.size() > 64 || !std::regex_match(text.data(), text.data() + text.size(), m, rgb)) return false;
  for (int i = 1; i <= 3; ++i)
    if (std::stoi(m[i]) > 255) return false;
  return true;
}

struct Format {
  std::string_view name;
  bool (*fits)(std::string_view);
};
constexpr Format kFormats[] = {
    {"bsonobjectid", [](std::string_view t) { return t.size() == 24 && all_hex(t); }},
    {"byte", [](std::string_view t) { return base64_decode(t).has_value(); }},
    {"cidr", cidr},
    {"creditcard", credit_card},
    {"date", date},
    {"date-time", date_time},
    {"datetime", date_time},
    {"duration", duration},
    {"email", email},
    {"hexcolor", hex_color},
    {"hostname", hostname},
    {"ipv4", ipv4},
    {"ipv6", ipv6},
    {"isbn", [](std::string_view t) { return isbn10(t) || isbn13(t); }},
    {"isbn10", isbn10},
    {"isbn13", isbn13},
    {"k8s-long-name", [](std::string_view t) { return api::check_dns1123_subdomain(t).empty(); }},
    {"k8s-short-name", [](std::string_view t) { return api::check_dns1123_label(t).empty(); }},
    {"mac", mac},
    {"rgbcolor", rgb_color},
    {"ssn", ssn},
    {"uri", uri},
    {"uuid", [](std::string_view t) { return uuid_of(t, '0'); }},
    {"uuid3", [](std::string_view t) { return uuid_of(t, '3'); }},
    {"uuid4", [](std::string_view t) { return uuid_of(t, '4'); }},
    {"uuid5", [](std::string_view t) { return uuid_of(t, '5'); }},
};

}  // namespace

bool fits_format(std::string_view format, std::string_view text) {
  for (const Format& f : kFormats)
    if (f.name == format) return f.fits(text);
  return true;
}

}  // namespace kcube::apiserver::extension
