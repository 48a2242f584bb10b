#include "pkg/api/names.h"

namespace kcube::api {
namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

// Every character fits `middle`, the first `first` and the last `last`.
template <typename First, typename Middle, typename Last>
bool shaped(std::string_view text, First first, Middle middle, Last last) {
  if (text.empty() || !first(text.front()) || !last(text.back())) return false;
  for (char c : text)
    if (!middle(c)) return false;
  return true;
}

bool is_label(std::string_view text) {
  auto alnum = [](char c) { return lower(c) || digit(c); };
  return shaped(text, alnum, [&](char c) { return alnum(c) || c == '-'; }, alnum);
}

bool is_subdomain(std::string_view text) {
  while (true) {
    size_t dot = text.find('.');
    if (!is_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_name_part(std::string_view text) {
  auto alnum = [](char c) { return lower(c) || upper(c) || digit(c); };
  return shaped(text, alnum, [&](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; }, alnum);
}

std::string too_long_name(size_t limit) { return "must be no more than " + std::to_string(limit) + " characters"; }
std::string too_long(size_t limit) { return "must be no more than " + std::to_string(limit) + " bytes"; }

constexpr std::string_view kLabelRule =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kSubdomainRule =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr std::string_view kDns1035Rule =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kNamePartRule =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr std::string_view kLabelValueRule =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

}  // namespace

std::string check_dns1123_label(std::string_view text) {
  if (text.size() > 63) return too_long_name(63);
  if (is_label(text)) return {};
  return is_subdomain(text) ? "must not contain dots" : std::string(kLabelRule);
}

std::string check_dns1123_subdomain(std::string_view text) {
  if (text.size() > 253) return too_long_name(253);
  return is_subdomain(text) ? "" : std::string(kSubdomainRule);
}

std::string check_dns1035_label(std::string_view text) {
  if (text.size() > 63) return too_long_name(63);
  auto alnum = [](char c) { return lower(c) || digit(c); };
  return shaped(text, lower, [&](char c) { return alnum(c) || c == '-'; }, alnum) ? "" : std::string(kDns1035Rule);
}

std::string check_path_segment(std::string_view text) {
  if (text == ".") return "may not be '.'";
  if (text == "..") return "may not be '..'";
  if (text.find('/') != std::string_view::npos) return "may not contain '/'";
  if (text.find('%') != std::string_view::npos) return "may not contain '%'";
  return {};
}

std::string check_qualified_name(std::string_view text) {
  std::string_view name = text;
  if (size_t slash = text.find('/'); slash != std::string_view::npos) {
    std::string_view prefix = text.substr(0, slash);
    name = text.substr(slash + 1);
    if (name.find('/') != std::string_view::npos)
      return "a qualified name " + std::string(kNamePartRule) + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    if (prefix.empty()) return "prefix part must be non-empty";
    if (std::string problem = check_dns1123_subdomain(prefix); !problem.empty()) return "prefix part " + problem;
  }
  if (name.empty()) return "name part must be non-empty";
  if (name.size() > 63) return "name part " + too_long(63);
  return is_name_part(name) ? "" : "name part " + std::string(kNamePartRule);
}

std::string check_label_value(std::string_view text) {
  if (text.size() > 63) return too_long(63);
  return text.empty() || is_name_part(text) ? "" : std::string(kLabelValueRule);
}

std::string check_env_var_name(std::string_view text) {
  // Since 1.34 any printable ASCII but '='. Source: KEP-4369.
  if (text.empty()) return "environment variable name must be non-empty";
  for (unsigned char c : text)
    if (c < 0x20 || c > 0x7e || c == '=')
      return "a valid environment variable name must consist only of printable ASCII characters other than '='";
  return {};
}

std::string check_config_map_key(std::string_view text) {
  if (text.size() > 253) return too_long_name(253);
  if (text == ".") return "must not be '.'";
  if (text == "..") return "must not be '..'";
  if (text.starts_with("..")) return "must not start with '..'";
  for (char c : text)
    if (!lower(c) && !upper(c) && !digit(c) && c != '-' && c != '_' && c != '.') text = {};
  if (text.empty())
    return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
           "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
  return {};
}

std::string check_port_name(std::string_view text) {
  if (text.size() > 15) return "must be no more than 15 characters";
  bool letter = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (!lower(c) && !digit(c) && c != '-')
      return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
    if (lower(c)) letter = true;
    if (c == '-' && i > 0 && text[i - 1] == '-') return "must not contain consecutive hyphens";
  }
  if (!letter) return "must contain at least one letter (a-z)";
  if (text.front() == '-' || text.back() == '-') return "must not begin or end with a hyphen";
  return {};
}

}  // namespace kcube::api
