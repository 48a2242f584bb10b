#include "cmd/kcube/flag_checks.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "net/address.h"
#include "pkg/api/names.h"
#include "pkg/base/strings.h"
#include "pkg/controllers/set.h"

namespace kcube::cli {
namespace {

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

bool is_ipv6(const std::string& text) {
  in6_addr address;
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

std::string check_pair(std::string_view key, std::string_view value, const std::string& whole) {
  std::string wrong = api::check_qualified_name(key);
  if (wrong.empty()) wrong = api::check_label_value(value);
  return wrong.empty() ? wrong : quoted(whole) + ": " + wrong;
}

}  // namespace

std::string check_prefix(const std::string& text) {
  auto prefix = net::parse_prefix(text);
  if (!prefix || text.find('/') == std::string::npos) return quoted(text) + " is not a range of IPv4 addresses like 10.42.0.0/16";
  if (prefix->length > 30 || prefix->length < 8) return quoted(text) + ": the length must be between 8 and 30";
  return {};
}

std::string check_address(const std::string& text) { return net::parse_ipv4(text) ? "" : quoted(text) + " is not an IPv4 address"; }

std::string check_listen_address(const std::string& text) {
  return net::parse_ipv4(text) || is_ipv6(text) ? "" : quoted(text) + " is not an address";
}

std::string check_port(const std::string& text) {
  auto port = parse_int<int>(text);
  return port && *port >= 0 && *port < 65536 ? "" : quoted(text) + " is not a port between 1 and 65535 (0: the default)";
}

std::string check_node_name(const std::string& text) {
  std::string wrong = api::check_dns1123_subdomain(text);
  return wrong.empty() ? wrong : quoted(text) + ": " + wrong;
}

std::string check_label(const std::string& text) {
  size_t equal = text.find('=');
  if (equal == std::string::npos) return quoted(text) + " is not KEY=VALUE";
  return check_pair(std::string_view(text).substr(0, equal), std::string_view(text).substr(equal + 1), text);
}

std::string check_taint(const std::string& text) {
  static constexpr std::array<std::string_view, 3> kEffects{"NoSchedule", "PreferNoSchedule", "NoExecute"};
  size_t colon = text.rfind(':');
  if (colon == std::string::npos || std::ranges::find(kEffects, std::string_view(text).substr(colon + 1)) == kEffects.end())
    return quoted(text) + " is not KEY=VALUE:EFFECT with NoSchedule, PreferNoSchedule or NoExecute";
  std::string_view pair = std::string_view(text).substr(0, colon);
  size_t equal = pair.find('=');
  return check_pair(pair.substr(0, equal), equal == std::string_view::npos ? std::string_view() : pair.substr(equal + 1), text);
}

std::string check_domain(const std::string& text) {
  std::string wrong = api::check_dns1123_subdomain(text);
  return wrong.empty() ? wrong : quoted(text) + ": " + wrong;
}

std::string check_san(const std::string& text) {
  if (net::parse_ipv4(text) || is_ipv6(text)) return {};
  std::string wrong = api::check_dns1123_subdomain(text.starts_with("*.") ? std::string_view(text).substr(2) : std::string_view(text));
  return wrong.empty() ? wrong : quoted(text) + " is neither an address nor a DNS name: " + wrong;
}

std::string check_disabled(const std::string& text) {
  if (text == "*" || text == "scheduler" || controllers::is_controller(text)) return {};
  return "there is no controller " + quoted(text) + ": " + controllers::controller_names() + ", scheduler";
}

}  // namespace kcube::cli
