// Endpoints and EndpointSlices, and the addresses in them.
#include <arpa/inet.h>

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_network.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxPorts = 20000, kMaxEndpoints = 1000, kMaxAddresses = 100, kMaxHints = 16;

// The API server's own addresses, which it writes itself: on a machine without a network those are loopback.
bool is_api_server(const Validation& v) {
  return v["metadata"]["namespace"].text() == "default" && v["metadata"]["name"].text() == "kubernetes";
}

void validate_address(const Cursor& address, bool any_range) {
  check_ip(address["ip"]);
  if (!valid_ip(address["ip"].text())) address["ip"].invalid("must be a valid IP address");
  if (!address["hostname"].empty()) address["hostname"].check(api::check_dns1123_label(address["hostname"].text()));
  if (address["nodeName"].present())
    address["nodeName"].check(api::check_dns1123_subdomain(address["nodeName"].text()));
  if (!any_range) check_endpoint_ip(address["ip"]);
}

void validate_slice_endpoint(const Cursor& endpoint, std::string_view type, bool any_range) {
  Cursor addresses = endpoint["addresses"];
  if (addresses.empty()) addresses.required("must contain at least 1 address");
  if (addresses.size() > kMaxAddresses) addresses.too_many(kMaxAddresses);
  for (const Cursor& address : addresses.items()) {
    if (type == "FQDN") {
      address.check(api::check_dns1123_subdomain(address.text()));
      continue;
    }
    bool four = valid_ip_v4(address.text()), any = valid_ip(address.text());
    if (!any)
      address.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    else if (type == "IPv4" && !four)
      address.renamed(addresses.path()).invalid("must be an IPv4 address");
    else if (type == "IPv6" && four)
      address.renamed(addresses.path()).invalid("must be an IPv6 address");
    if (any && !any_range) check_endpoint_ip(address);
  }
  if (endpoint["nodeName"].present())
    endpoint["nodeName"].check(api::check_dns1123_subdomain(endpoint["nodeName"].text()));
  for (const auto& [key, value] : endpoint["deprecatedTopology"].members())
    if (key == "kubernetes.io/hostname") value.forbidden("may not be set in deprecatedTopology");
  if (!endpoint["hostname"].empty()) endpoint["hostname"].check(api::check_dns1123_label(endpoint["hostname"].text()));
  Cursor zones = endpoint["hints"]["forZones"];
  if (zones.size() > kMaxHints) zones.too_many(kMaxHints);
  std::set<std::string_view> seen;
  for (const Cursor& zone : zones.items()) {
    zone["name"].check(api::check_label_value(zone["name"].text()));
    if (!seen.insert(zone["name"].text()).second) zone["name"].duplicate();
  }
}

void validate_slice_ports(const Cursor& ports) {
  if (ports.size() > kMaxPorts) ports.too_many(kMaxPorts);
  std::set<std::string_view> names;
  for (const Cursor& port : ports.items()) {
    Cursor name = port["name"];
    if (!name.empty()) name.check(api::check_dns1123_label(name.text()));
    if (!names.insert(name.text()).second) name.duplicate();
    port["protocol"].one_of({"SCTP", "TCP", "UDP"});
    if (port["appProtocol"].present()) validate_label_key(port["appProtocol"]);
  }
}

}  // namespace

void check_endpoint_ip(const Cursor& ip) {
  std::string text(ip.text());
  in_addr four;
  in6_addr six;
  if (inet_pton(AF_INET, text.c_str(), &four) == 1) {
    uint32_t a = ntohl(four.s_addr);
    if (a == 0)
      ip.invalid("may not be unspecified (0.0.0.0)");
    else if (a >> 24 == 127)
      ip.invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    else if (a >> 16 == 0xa9fe)
      ip.invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    else if (a >> 8 == 0xe00000)
      ip.invalid("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
  } else if (inet_pton(AF_INET6, text.c_str(), &six) == 1) {
    if (IN6_IS_ADDR_UNSPECIFIED(&six))
      ip.invalid("may not be unspecified (::)");
    else if (IN6_IS_ADDR_LOOPBACK(&six))
      ip.invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    else if (IN6_IS_ADDR_LINKLOCAL(&six))
      ip.invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    else if (IN6_IS_ADDR_MC_LINKLOCAL(&six))
      ip.invalid("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
  }
}

void validate_endpoints(const Validation& v) {
  for (const Cursor& subset : v["subsets"].items()) {
    Cursor ready = subset["addresses"], waiting = subset["notReadyAddresses"], ports = subset["ports"];
    if (ready.empty() && waiting.empty()) subset.required("must specify `addresses` or `notReadyAddresses`");
    for (const Cursor& address : ready.items()) validate_address(address, is_api_server(v));
    for (const Cursor& address : waiting.items()) validate_address(address, is_api_server(v));
    for (const Cursor& port : ports.items()) {
      if (ports.size() > 1 && port["name"].empty())
        port["name"].required();
      else if (!port["name"].empty())
        port["name"].check(api::check_dns1123_label(port["name"].text()));
      port["port"].port();
      port["protocol"].one_of({"SCTP", "TCP", "UDP"});
      if (port["appProtocol"].present()) validate_label_key(port["appProtocol"]);
    }
  }
}

void validate_endpoint_slice(const Validation& v) {
  Cursor type = v["addressType"];
  type.one_of({"FQDN", "IPv4", "IPv6"});
  if (v["endpoints"].size() > kMaxEndpoints) v["endpoints"].too_many(kMaxEndpoints);
  for (const Cursor& endpoint : v["endpoints"].items())
    validate_slice_endpoint(endpoint, type.text(), is_api_server(v));
  validate_slice_ports(v["ports"]);
  if (!v.creating()) type.unchanged(v.before({"addressType"}));
}

}  // namespace kcube::machinery
