// Ingresses, their classes, NetworkPolicies, ServiceCIDRs and IPAddresses.
#include "pkg/apiserver/machinery/validation_network.h"

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxController = 250;

void check_host(const Cursor& host) {
  std::string_view text = host.text();
  if (text.find('*') == std::string_view::npos) {
    host.check(api::check_dns1123_subdomain(text));
  } else if (!text.starts_with("*.") || !api::check_dns1123_subdomain(text.substr(2)).empty()) {
    host.invalid(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
        "lower case alphanumeric "
        "characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for "
        "validation is "
        "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
  }
}

void check_segment(const Cursor& at) {
  if (at.empty())
    at.required();
  else
    at.check(api::check_path_segment(at.text()));
}

void validate_backend(const Cursor& backend) {
  Cursor resource = backend["resource"], service = backend["service"];
  if (resource.present() && service.present())
    return backend.invalid_text("", "cannot set both resource and service backends");
  if (!resource.present() && !service.present())
    return backend.invalid_text("", "resource or service backend is required");
  if (resource.present()) {
    if (Cursor group = resource["apiGroup"]; group.present()) group.check(api::check_dns1123_subdomain(group.text()));
    check_segment(resource["kind"]);
    check_segment(resource["name"]);
    return;
  }
  if (service["name"].empty())
    service["name"].required();
  else
    service["name"].check(api::check_dns1123_label(service["name"].text()));
  Cursor name = service["port"]["name"], number = service["port"]["number"];
  if (!name.empty() && number.number() != 0)
    backend.invalid_text("", "cannot set both port name & port number");
  else if (!name.empty())
    name.check(api::check_port_name(name.text()));
  else if (number.number() != 0)
    number.port();
  else
    backend.required("port name or number is required");
}

void validate_path(const Cursor& path) {
  Cursor type = path["pathType"], at = path["path"];
  if (!type.present()) return type.required("pathType must be specified");
  std::string_view text = at.text();
  if (type.in({"Exact", "Prefix"})) {
    if (!text.starts_with('/')) at.invalid("must be an absolute path");
    for (std::string_view bad : {"//", "/./", "/../", "%2f", "%2F"})
      if (text.find(bad) != std::string_view::npos) at.invalid("must not contain '" + std::string(bad) + "'");
    for (std::string_view bad : {"/..", "/."})
      if (text.ends_with(bad)) at.invalid("cannot end with '" + std::string(bad) + "'");
  } else if (type.text() == "ImplementationSpecific") {
    if (!text.empty() && !text.starts_with('/')) at.invalid("must be an absolute path");
  } else {
    type.not_supported({"Exact", "ImplementationSpecific", "Prefix"});
  }
  validate_backend(path["backend"]);
}

void validate_rules(const Cursor& rules) {
  for (const Cursor& rule : rules.items()) {
    Cursor host = rule["host"], http = rule["http"];
    if (!host.empty()) {
      if (valid_ip(host.text())) host.invalid("must be a DNS name, not an IP address");
      check_host(host);
    }
    if (!http.present()) continue;
    if (http["paths"].empty()) http["paths"].required();
    for (const Cursor& path : http["paths"].items()) validate_path(path);
  }
}

void check_prefixed_path(const Cursor& at) {
  std::string_view text = at.text();
  if (text.empty()) return at.required();
  size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash + 1 == text.size())
    return at.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")");
  at.check(api::check_dns1123_subdomain(text.substr(0, slash)));
}

void validate_policy_port(const Cursor& port) {
  Cursor protocol = port["protocol"], number = port["port"], end = port["endPort"];
  if (protocol.present() && !protocol.in({"TCP", "UDP", "SCTP"})) protocol.not_supported({"TCP", "UDP", "SCTP"});
  if (!number.present()) {
    if (end.present()) end.invalid("may not be specified when `port` is not specified");
  } else if (number.is_text()) {
    if (end.present()) end.invalid("may not be specified when `port` is non-numeric");
    number.check(api::check_port_name(number.text()));
  } else {
    number.port();
    if (!end.present()) return;
    if (end.number() < number.number()) end.invalid(*number.value(), "must be greater than or equal to `port`");
    end.port();
  }
}

void validate_ip_block(const Cursor& block) {
  Cursor cidr = block["cidr"];
  if (cidr.empty()) return cidr.required();
  check_cidr(cidr);
  if (!valid_cidr(cidr.text())) return;
  for (const Cursor& except : block["except"].items()) {
    check_cidr(except);
    if (valid_cidr(except.text()) && !strictly_within(except.text(), cidr.text()))
      except.invalid("must be a strict subset of `cidr`");
  }
}

void validate_peer(const Cursor& peer) {
  Cursor pods = peer["podSelector"], spaces = peer["namespaceSelector"], block = peer["ipBlock"];
  validate_label_selector(pods);
  validate_label_selector(spaces);
  if (block.present()) validate_ip_block(block);
  if (!pods.present() && !spaces.present() && !block.present())
    peer.required("must specify a peer");
  else if (block.present() && (pods.present() || spaces.present()))
    peer.forbidden("may not specify both ipBlock and another peer");
}

void check_service_cidrs(const Cursor& spec) {
  Cursor cidrs = spec["cidrs"];
  if (cidrs.empty()) return cidrs.required("at least one CIDR required");
  if (cidrs.size() > 2) return cidrs.invalid(json::value{{"CIDRs", *cidrs.value()}}, "may only hold up to 2 values");
  bool sound = true;
  std::vector<Cursor> items = cidrs.items();
  for (const Cursor& cidr : items) sound = check_canonical_cidr(cidr) && sound;
  if (sound && items.size() == 2 && same_family(items[0].text(), items[1].text()))
    cidrs.invalid("may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
}

}  // namespace

void validate_ingress(const Validation& v) {
  if (!v.main()) {
    for (const Cursor& point : v["status"]["loadBalancer"]["ingress"].items()) {
      if (!point["ip"].empty()) check_ip(point["ip"]);
      if (Cursor host = point["hostname"]; !host.empty()) {
        host.check(api::check_dns1123_subdomain(host.text()));
        if (valid_ip(host.text())) host.invalid("must be a DNS name, not an IP address");
      }
    }
    return;
  }
  Cursor spec = v["spec"];
  if (spec["rules"].empty() && !spec["defaultBackend"].present())
    spec.invalid(spec["rules"].present() ? *spec["rules"].value() : json::value(nullptr),
                 "either `defaultBackend` or `rules` must be specified");
  if (spec["defaultBackend"].present()) validate_backend(spec["defaultBackend"]);
  validate_rules(spec["rules"]);
  for (const Cursor& tls : spec["tls"].items()) {
    for (const Cursor& host : tls["hosts"].items()) check_host(host);
    if (!tls["secretName"].empty()) tls["secretName"].check(api::check_dns1123_subdomain(tls["secretName"].text()));
  }
  Cursor name = spec["ingressClassName"];
  if (name.present()) name.check(api::check_dns1123_subdomain(name.text()));
  Cursor annotation = v["metadata"]["annotations"]["kubernetes.io/ingress.class"].with(
      v["metadata"]["annotations"].entry("kubernetes.io/ingress.class").value());
  if (v.creating() && annotation.present() && name.present() && annotation.text() != name.text())
    annotation.renamed("annotations.kubernetes.io/ingress.class")
        .invalid("must match `ingressClassName` when both are specified");
}

void validate_ingress_class(const Validation& v) {
  Cursor spec = v["spec"], controller = spec["controller"], parameters = spec["parameters"];
  if (!v.creating()) controller.unchanged(v.before({"spec", "controller"}));
  if (controller.text().size() > kMaxController) controller.too_long(kMaxController);
  check_prefixed_path(controller);
  if (!parameters.present()) return;
  if (Cursor group = parameters["apiGroup"]; group.present()) group.check(api::check_dns1123_subdomain(group.text()));
  check_segment(parameters["kind"]);
  check_segment(parameters["name"]);
  Cursor scope = parameters["scope"], space = parameters["namespace"];
  if (!scope.present()) return scope.required();
  if (!scope.in({"Cluster", "Namespace"})) return scope.not_supported({"Cluster", "Namespace"});
  if (scope.text() == "Cluster" && space.present()) space.forbidden("`parameters.scope` is set to 'Cluster'");
  if (scope.text() != "Namespace") return;
  if (!space.present())
    space.required("`parameters.scope` is set to 'Namespace'");
  else
    space.check(api::check_dns1123_label(space.text()));
}

void validate_network_policy(const Validation& v) {
  Cursor spec = v["spec"];
  validate_label_selector(spec["podSelector"]);
  for (auto [direction, peers] : {std::pair{"ingress", "from"}, std::pair{"egress", "to"}}) {
    for (const Cursor& rule : spec[direction].items()) {
      for (const Cursor& port : rule["ports"].items()) validate_policy_port(port);
      for (const Cursor& peer : rule[peers].items()) validate_peer(peer);
    }
  }
  Cursor types = spec["policyTypes"];
  if (types.size() > 2) return types.invalid("may not specify more than two policyTypes");
  for (const Cursor& type : types.items())
    if (!type.in({"Ingress", "Egress"})) type.not_supported({"Ingress", "Egress"});
}

void validate_service_cidr(const Validation& v) {
  if (!v.main()) return;
  Cursor cidrs = v["spec"]["cidrs"];
  if (v.creating()) return check_service_cidrs(v["spec"]);
  // The other family may come later; nothing else changes.
  const json::array& before = json::get_array(v.before({"spec", "cidrs"}));
  const bool second_family = before.size() == 1 && cidrs.size() == 2;
  if (!second_family && before.size() != cidrs.size())
    return cidrs.invalid(cidrs.present() ? *cidrs.value() : json::value(nullptr), "field is immutable");
  for (const Cursor& cidr : cidrs.items()) {
    const size_t i = cidr.value() - json::get_array(cidrs.value()).data();
    if (i < before.size() && cidr.text() != json::get_string(&before[i])) cidr.invalid("field is immutable");
  }
  if (second_family) check_service_cidrs(v["spec"]);
}

void validate_ip_address(const Validation& v) {
  Cursor parent = v["spec"]["parentRef"];
  if (!parent.present())
    parent.required();
  else if (parent["resource"].empty())
    parent["resource"].required();
  if (parent.present() && parent["name"].empty()) parent["name"].required();
  if (!v.creating()) parent.unchanged(v.before({"spec", "parentRef"}));
}

}  // namespace kcube::machinery
