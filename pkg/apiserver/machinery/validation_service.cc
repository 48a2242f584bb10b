// Services: ports, addresses, and what a change of type may do.
#include <arpa/inet.h>

#include <map>

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_network.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr int64_t kMaxAffinitySeconds = 86400;
constexpr std::string_view kRangesAnnotation = "service.beta.kubernetes.io/load-balancer-source-ranges";

bool headless(const Cursor& spec) {
  std::vector<Cursor> ips = spec["clusterIPs"].items();
  return ips.size() == 1 && ips[0].text() == "None";
}

bool headless(const json::value* spec) {
  const json::array& ips = json::get_array(json::find(spec, "clusterIPs"));
  return ips.size() == 1 && json::get_string(&ips[0]) == "None";
}

void validate_ports(const Cursor& spec) {
  std::vector<Cursor> ports = spec["ports"].items();
  std::set<std::string_view> names;
  for (const Cursor& port : ports) {
    Cursor name = port["name"];
    if (ports.size() > 1 && name.empty())
      name.required();
    else if (!name.empty()) {
      name.check(api::check_dns1123_label(name.text()));
      if (!names.insert(name.text()).second) name.duplicate();
    }
    port["port"].port();
    port["protocol"].one_of({"SCTP", "TCP", "UDP"});
    validate_port_or_name(port["targetPort"]);
    if (port["appProtocol"].present()) validate_label_key(port["appProtocol"]);
  }
}

void check_port_duplicates(const Validation& v) {
  Cursor spec = v["spec"];
  // Changing the type lets go of the ports of nodes.
  bool new_type = !v.creating() && json::get_string(v.before({"spec", "type"})) != spec["type"].text();
  std::set<std::pair<std::string_view, int64_t>> node_ports, ports;
  for (const Cursor& port : spec["ports"].items()) {
    Cursor node_port = port["nodePort"];
    if (spec["type"].text() == "ClusterIP" && node_port.number() != 0 && !new_type)
      node_port.forbidden("may not be used when `type` is 'ClusterIP'");
    if (node_port.number() != 0 && !node_ports.insert({port["protocol"].text(), node_port.number()}).second)
      node_port.duplicate();
    if (ports.insert({port["protocol"].text(), port["port"].number()}).second) continue;
    json::object shown{{"port", port["port"].number()}, {"protocol", json::key(port["protocol"].text())}};
    json::value key(std::move(shown));
    port.with(&key).duplicate();
  }
}

void validate_by_type(const Cursor& spec) {
  std::string_view type = spec["type"].text();
  if ((type == "LoadBalancer" || type == "NodePort") && headless(spec))
    spec["clusterIPs"].items()[0].invalid("may not be set to 'None' for " + std::string(type) + " services");
  if (type != "ExternalName") return;
  for (std::string_view member : {"clusterIPs", "ipFamilies", "ipFamilyPolicy"})
    if (!spec[member].empty()) spec[member].forbidden("may not be set for ExternalName services");
  Cursor name = spec["externalName"];
  std::string_view text = name.text();
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty()) return name.required();
  if (std::string problem = api::check_dns1123_subdomain(text); !problem.empty()) name.invalid_text(text, problem);
}

void validate_affinity(const Cursor& spec) {
  Cursor affinity = spec["sessionAffinity"], config = spec["sessionAffinityConfig"];
  affinity.one_of({"ClientIP", "None"});
  if (affinity.text() == "None" && config.present()) config.forbidden("must not be set when session affinity is None");
  if (affinity.text() != "ClientIP") return;
  Cursor timeout = config["clientIP"]["timeoutSeconds"];
  if (!timeout.present()) return timeout.required("when session affinity type is ClientIP");
  if (timeout.number() <= 0 || timeout.number() > kMaxAffinitySeconds)
    timeout.invalid("must be greater than 0 and less than 86400");
}

void validate_cluster_ips(const Cursor& spec) {
  if (spec["type"].text() == "ExternalName") return;
  Cursor ips = spec["clusterIPs"], families = spec["ipFamilies"];
  std::vector<Cursor> list = ips.items();
  Cursor ip = spec["clusterIP"];
  if (ip.empty() && !list.empty()) ips.invalid("must be empty when `clusterIP` is not specified");
  if (!ip.empty() && list.empty()) ips.required();
  if (!ip.empty() && !list.empty() && list[0].text() != ip.text()) ips.invalid("first value must match `clusterIP`");
  std::set<std::string_view> seen;
  for (const Cursor& family : families.items()) {
    if (!family.in({"IPv4", "IPv6"})) family.not_supported({"IPv4", "IPv6"});
    if (!seen.insert(family.text()).second) family.duplicate();
  }
  spec["ipFamilyPolicy"].one_of_if_set({"PreferDualStack", "RequireDualStack", "SingleStack"});
  bool bad = false;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i == 0 && list[i].text() == "None") {
      if (list.size() > 1) bad = true, ips.invalid("'None' must be the first and only value");
    } else if (!valid_ip(list[i].text())) {
      bad = true;
      check_ip(list[i]);
    }
  }
  if (list.size() > 2) ips.invalid("may only hold up to 2 values");
  if (bad || headless(spec)) return;
  if (list.size() == 2 && valid_ip_v4(list[0].text()) == valid_ip_v4(list[1].text()))
    ips.invalid("may specify no more than one IP for each IP family");
  std::vector<Cursor> wanted = families.items();
  for (size_t i = 0; i < list.size() && i < wanted.size(); ++i) {
    bool four = valid_ip_v4(list[i].text());
    if (wanted[i].text() == "IPv4" && !four)
      list[i].invalid("expected an IPv4 value as indicated by `ipFamilies[" + std::to_string(i) + "]`");
    if (wanted[i].text() == "IPv6" && four)
      list[i].invalid("expected an IPv6 value as indicated by `ipFamilies[" + std::to_string(i) + "]`");
  }
}

// This cluster has IPv4 alone; what a headless service without a selector says of families is its own business.
void validate_families(const Cursor& spec) {
  if (spec["type"].text() == "ExternalName" || (headless(spec) && spec["selector"].empty())) return;
  Cursor policy = spec["ipFamilyPolicy"], ips = spec["clusterIPs"], families = spec["ipFamilies"];
  if (policy.text() == "SingleStack" && ips.size() > 1)
    policy.invalid("must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
  if (policy.text() == "SingleStack" && families.size() > 1)
    return policy.invalid("must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
  for (const Cursor& ip : ips.items())
    if (ip.text() != "None" && !valid_ip_v4(ip.text())) ip.invalid(*ips.value(), "IPv6 is not configured on this cluster");
  for (const Cursor& family : families.items())
    if (family.text() != "IPv4") family.invalid("not configured on this cluster");
  if (policy.text() == "RequireDualStack") policy.invalid("this cluster is not configured for dual-stack services");
}

void validate_source_ranges(const Validation& v) {
  Cursor spec = v["spec"];
  bool balancer = spec["type"].text() == "LoadBalancer";
  // The real server spells the path with a capital.
  Cursor ranges = spec["loadBalancerSourceRanges"].renamed("spec.LoadBalancerSourceRanges");
  if (!ranges.empty()) {
    if (!balancer) ranges.forbidden("may only be used when `type` is 'LoadBalancer'");
    for (const Cursor& range : ranges.items()) {
      json::value trimmed(json::key(trim(range.text())));
      check_cidr(range.with(&trimmed));
    }
    return;
  }
  Cursor annotation = v["metadata"]["annotations"].entry(kRangesAnnotation);
  if (!annotation.present()) return;
  if (!balancer) annotation.forbidden("may only be used when `type` is 'LoadBalancer'");
  if (trim(annotation.text()).empty()) return;
  for (std::string_view range : split(annotation.text(), ',')) {
    json::value trimmed(json::key(trim(range)));
    check_cidr(annotation.with(&trimmed));
  }
}

// A member that an earlier type needed and that nobody has touched: a change of type lets go of it.
bool left_over(const Validation& v, const Cursor& at, std::string_view member) {
  return !v.creating() && same(at.value(), v.before({"spec", member}));
}

void validate_traffic(const Validation& v) {
  Cursor spec = v["spec"];
  std::string_view type = spec["type"].text();
  bool external = type == "LoadBalancer" || type == "NodePort" || (type == "ClusterIP" && !spec["externalIPs"].empty());
  Cursor policy = spec["externalTrafficPolicy"], health = spec["healthCheckNodePort"];
  if (!external) {
    if (!policy.empty() && !left_over(v, policy, "externalTrafficPolicy"))
      policy.invalid("may only be set for externally-accessible services");
  } else {
    policy.one_of({"Cluster", "Local"});
  }
  if (!(type == "LoadBalancer" && policy.text() == "Local")) {
    if (health.number() != 0 && !left_over(v, health, "healthCheckNodePort"))
      health.invalid("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
  } else if (health.number() != 0) {
    health.port();
  }
  Cursor internal = spec["internalTrafficPolicy"];
  if (!internal.present()) {
    if (type == "NodePort" || type == "LoadBalancer" || type == "ClusterIP") internal.required();
  } else if (!internal.in({"Cluster", "Local"})) {
    internal.not_supported({"Cluster", "Local"});
  }
  spec["trafficDistribution"].one_of_if_set({"PreferClose", "PreferSameZone", "PreferSameNode"});
}

void validate_balancer_class(const Validation& v) {
  Cursor spec = v["spec"], name = spec["loadBalancerClass"];
  bool balancer = spec["type"].text() == "LoadBalancer";
  const json::value* before = v.before({"spec", "loadBalancerClass"});
  if (!v.creating() && balancer && json::get_string(v.before({"spec", "type"})) == "LoadBalancer") {
    if (!same(name.value(), before))
      name.invalid(name.present() ? *name.value() : json::value(nullptr), "may not change once set");
    if (before != nullptr) return;
  }
  if (!name.present() || left_over(v, name, "loadBalancerClass")) return;
  if (!balancer) return name.forbidden("may only be used when `type` is 'LoadBalancer'");
  validate_label_key(name);
}

// Addresses stay while a service keeps having them.
void check_update(const Validation& v) {
  const json::value* old = v.before({"spec"});
  Cursor spec = v["spec"];
  if (spec["type"].text() == "ExternalName" || json::get_string(json::find(old, "type")) == "ExternalName") return;
  if (headless(spec) && headless(old)) return;
  const json::array& before = json::get_array(json::find(old, "clusterIPs"));
  Cursor now = spec["clusterIPs"];
  std::vector<Cursor> list = now.items();
  Cursor first = now.renamed(now.path() + "[0]");
  if (list.empty() || list[0].text() != spec["clusterIP"].text()) {
    // Said already: the first of them is not the one address.
  } else if (before.size() == list.size()) {
    for (size_t i = 0; i < list.size(); ++i)
      if (list[i].text() != json::get_string(&before[i]))
        now.renamed(list[i].path()).invalid("may not change once set");
  } else if (list.empty()) {
    first.invalid(json::value(nullptr), "primary clusterIP can not be unset");
  } else if (!before.empty() && list[0].text() != json::get_string(&before[0])) {
    first.invalid("may not change once set");
  }
  if (before.size() > list.size() && list.size() == 1 && spec["ipFamilyPolicy"].text() != "SingleStack")
    spec["ipFamilyPolicy"].invalid("must be set to 'SingleStack' when releasing the secondary clusterIP");
  if (headless(spec) != headless(old)) return;
  const json::array& families = json::get_array(json::find(old, "ipFamilies"));
  std::vector<Cursor> wanted = spec["ipFamilies"].items();
  // An address of another family is what is told of, and that alone.
  const bool misfit = !list.empty() && !wanted.empty() && list[0].text() != "None" && (list[0].text().find(':') == std::string_view::npos) == (wanted[0].text() == "IPv6");
  if (!misfit && !families.empty() && !wanted.empty() && wanted[0].text() != json::get_string(&families[0]))
    spec["ipFamilies"].renamed("spec.ipFamilies[0]").invalid("may not change once set");
}

void validate_external_ips(const Cursor& spec) {
  for (const Cursor& ip : spec["externalIPs"].items()) {
    if (check_ip(ip)) check_endpoint_ip(ip);
  }
}

}  // namespace

void validate_service(const Validation& v) {
  if (!v.main()) return;
  Cursor spec = v["spec"];
  // Addresses come before all else: where they are wrong, nothing more is said.
  const size_t told = v.causes.size();
  validate_cluster_ips(spec);
  if (v.causes.size() == told) validate_families(spec);
  if (v.causes.size() != told) return;
  if (!v.creating()) check_update(v);
  if (spec["ports"].empty() && !headless(spec) && spec["type"].text() != "ExternalName") spec["ports"].required();
  validate_by_type(spec);
  validate_ports(spec);
  validate_labels(spec["selector"]);
  validate_affinity(spec);
  validate_external_ips(spec);
  spec["type"].one_of({"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"});
  check_port_duplicates(v);
  validate_source_ranges(v);
  if (Cursor allocate = spec["allocateLoadBalancerNodePorts"]; allocate.present() &&
                                                               spec["type"].text() != "LoadBalancer" &&
                                                               !left_over(v, allocate, "allocateLoadBalancerNodePorts"))
    allocate.forbidden("may only be used when `type` is 'LoadBalancer'");
  validate_balancer_class(v);
  validate_traffic(v);
}

}  // namespace kcube::machinery
