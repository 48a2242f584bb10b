// Pods: what stands in the spec itself; its parts have files of their own.
#include "pkg/apiserver/machinery/validation_pod.h"

#include <limits>

#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxNameservers = 3, kMaxSearches = 32, kMaxSearchText = 2048, kMaxHostName = 64;

void validate_dns(const Cursor& spec) {
  Cursor policy = spec["dnsPolicy"], config = spec["dnsConfig"];
  policy.one_of({"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"});
  Cursor servers = config["nameservers"], searches = config["searches"];
  if (policy.text() == "None") {
    if (!config.present()) return config.required("must provide `dnsConfig` when `dnsPolicy` is None");
    if (servers.empty()) return servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
  if (servers.size() > kMaxNameservers) servers.invalid("must not have more than 3 nameservers");
  for (const Cursor& server : servers.items()) check_ip(server);
  if (searches.size() > kMaxSearches) searches.invalid("must not have more than 32 search paths");
  size_t length = searches.empty() ? 0 : searches.size() - 1;
  for (const Cursor& search : searches.items()) {
    length += search.text().size();
    std::string_view name = search.text();
    if (name == ".") continue;
    if (name.ends_with('.')) name.remove_suffix(1);
    // Underscores are fine here.
    if (!api::check_dns1123_subdomain(replace_all(std::string(name), "_", "a")).empty())
      search.invalid_text(name,
                          "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' "
                          "or '.', and must start and end with an alphanumeric character");
  }
  if (length > kMaxSearchText)
    searches.invalid("must not have more than 2048 characters (including spaces) in the search list");
  for (const Cursor& option : config["options"].items())
    if (option["name"].empty()) option.required("must not be empty");
}

void validate_host_ports(const PodContext& pod) {
  if (!pod.spec["hostNetwork"].flag()) return;
  for (const Cursor& container : pod.spec["containers"].items())
    for (const Cursor& port : container["ports"].items()) {
      int64_t host = port["hostPort"].number(), inside = port["containerPort"].number();
      if ((pod.pod || host != 0) && host != inside)
        port["hostPort"].invalid(json::value(host), "must match `containerPort` when `hostNetwork` is true");
    }
}

void validate_host_users(const PodContext& pod) {
  if (pod.host_users) return;
  if (pod.spec["hostNetwork"].flag()) pod.spec["hostNetwork"].forbidden("when `hostUsers` is false");
  if (pod.spec["hostPID"].flag()) pod.spec["HostPID"].forbidden("when `hostUsers` is false");
  if (pod.spec["hostIPC"].flag()) pod.spec["HostIPC"].forbidden("when `hostUsers` is false");
}

void validate_names(const PodContext& pod) {
  auto check = [&](std::string_view member, std::string (*rule)(std::string_view)) {
    if (Cursor at = pod.spec[member]; !at.empty()) at.check(rule(at.text()));
  };
  check("serviceAccountName", api::check_dns1123_subdomain);
  check("nodeName", api::check_dns1123_subdomain);
  check("hostname", api::check_dns1123_label);
  check("subdomain", api::check_dns1123_label);
  check("priorityClassName", api::check_dns1123_subdomain);
  if (Cursor runtime = pod.spec["runtimeClassName"]; runtime.present())
    runtime.check(api::check_dns1123_subdomain(runtime.text()));
  Cursor override_name = pod.spec["hostnameOverride"];
  if (!override_name.present()) return;
  if (pod.spec["setHostnameAsFQDN"].flag())
    override_name.forbidden("may not be specified when setHostnameAsFQDN is true");
  if (pod.spec["hostNetwork"].flag()) override_name.forbidden("may not be specified when hostNetwork is true");
  if (override_name.text().size() > kMaxHostName) override_name.too_long(kMaxHostName);
  override_name.check(api::check_dns1123_subdomain(override_name.text()));
}

void validate_claims(const PodContext& pod) {
  std::set<std::string_view> names;
  for (const Cursor& claim : pod.spec["resourceClaims"].items()) {
    Cursor name = claim["name"], by_name = claim["resourceClaimName"], by_template = claim["resourceClaimTemplateName"];
    if (name.empty())
      name.required();
    else if (!names.insert(name.text()).second)
      name.duplicate();
    else
      name.check(api::check_dns1123_label(name.text()));
    if (by_name.present() && by_template.present())
      claim.invalid("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
    if (!by_name.present() && !by_template.present())
      claim.invalid("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
    if (by_name.present()) by_name.check(api::check_dns1123_subdomain(by_name.text()));
    if (by_template.present()) by_template.check(api::check_dns1123_subdomain(by_template.text()));
  }
}

// The whole pod's own limits hold what its containers ask for.
void validate_pod_resources(const Cursor& spec) {
  Cursor resources = spec["resources"];
  if (!resources.present()) return;
  validate_resources(resources, nullptr, true);
  if (!resources["claims"].empty()) resources["claims"].forbidden("claims may not be set for Resources at pod-level");
  for (const auto& [name, request] : resources["requests"].members()) {
    api::Quantity sum;
    for (const Cursor& container : spec["containers"].items())
      sum += api::Quantity::from_json(container["resources"]["requests"].entry(name).value());
    if (api::Quantity::from_json(request.value()) < sum)
      request.invalid("must be greater than or equal to aggregate container requests of " + sum.to_string());
  }
  for (const auto& [name, limit] : resources["limits"].members())
    for (size_t i = 0; const Cursor& container : spec["containers"].items()) {
      // The real server's path is this odd one.
      Cursor own = container["resources"]["limits"].entry(name);
      std::string path =
          resources.path() + ".containers[" + std::to_string(i++) + "][" + std::string(name) + "].limits";
      if (own.present() && api::Quantity::from_json(own.value()) > api::Quantity::from_json(limit.value()))
        own.renamed(path).invalid("must be less than or equal to pod limits of " +
                                  api::Quantity::from_json(limit.value()).to_string());
    }
}

void validate_others(const PodContext& pod) {
  const Cursor& spec = pod.spec;
  spec["restartPolicy"].one_of({"Always", "OnFailure", "Never"});
  validate_dns(spec);
  for (const Cursor& gate : spec["readinessGates"].items()) validate_label_key(gate["conditionType"]);
  if (Cursor deadline = spec["activeDeadlineSeconds"]; deadline.present())
    deadline.between(1, std::numeric_limits<int32_t>::max());
  for (const Cursor& alias : spec["hostAliases"].items()) {
    check_ip(alias["ip"]);
    for (const Cursor& name : alias["hostnames"].items()) name.check(api::check_dns1123_subdomain(name.text()));
  }
  spec["preemptionPolicy"].one_of_if_set({"PreemptLowerPriority", "Never"});
  if (Cursor overhead = spec["overhead"]; overhead.present()) {
    json::value as_limits(json::object{{"limits", *overhead.value()}});
    validate_resources(overhead.with(&as_limits), nullptr);
  }
  if (Cursor os = spec["os"]; os.present()) {
    if (os["name"].empty())
      os["name"].required();
    else if (!os["name"].in({"linux", "windows"}))
      os["name"].renamed(os.path()).not_supported({"linux", "windows"});
  }
}

void validate_pod_annotations(const Validation& v) {
  Cursor annotations = v["metadata"]["annotations"];
  if (Cursor mirror = annotations.entry("kubernetes.io/config.mirror");
      !mirror.empty() && v["spec"]["nodeName"].empty())
    mirror.invalid("must set spec.nodeName if mirror pod annotation is set");
  Cursor cost = annotations.entry("controller.kubernetes.io/pod-deletion-cost");
  if (!cost.present()) return;
  std::string_view text = cost.text();
  bool padded = text.starts_with('+') || (text.size() > 1 && text.front() == '0') || text.starts_with("-0");
  if (padded || !parse_int<int32_t>(text)) cost.invalid("must be a 32bit integer");
}

}  // namespace

const json::value* PodContext::volume(std::string_view name) const {
  if (name.empty()) return nullptr;
  for (const json::value& v : json::get_array(json::find(spec.value(), "volumes")))
    if (json::get_string(v, {"name"}) == name && !broken_volumes.contains(&v)) return &v;
  return nullptr;
}

void validate_pod_spec(const Cursor& spec, const json::value* metadata, bool is_pod) {
  PodContext pod{.spec = spec,
                 .metadata = metadata,
                 .pod = is_pod,
                 .host_users = true,
                 .restart_policy = spec["restartPolicy"].text(),
                 .claims = {}};
  pod.host_users = !spec["hostUsers"].present() || spec["hostUsers"].flag();
  for (const Cursor& claim : spec["resourceClaims"].items()) pod.claims.insert(claim["name"].text());
  validate_volumes(pod);
  validate_claims(pod);
  validate_containers(pod);
  validate_ephemeral_containers(pod);
  validate_pod_resources(spec);
  validate_host_ports(pod);
  validate_pod_security(pod);
  validate_scheduling(pod);
  validate_host_users(pod);
  validate_names(pod);
  validate_others(pod);
}

void validate_pod_template(const Cursor& pod_template) {
  // The real server's paths leave out "metadata" here.
  Cursor metadata = pod_template["metadata"];
  validate_labels(metadata["labels"].renamed(pod_template.path() + ".labels"));
  validate_annotations(metadata["annotations"].renamed(pod_template.path() + ".annotations"));
  validate_pod_spec(pod_template["spec"], metadata.value(), false);
  if (!pod_template["spec"]["ephemeralContainers"].empty())
    pod_template["spec"]["ephemeralContainers"].forbidden("ephemeral containers not allowed in pod template");
}

void validate_pod(const Validation& v) {
  // A binding as it came; once it is merged there is only the pod, which gets its node.
  if (v.subresource == "binding")
    return v["target"].present() || v["spec"].value() == nullptr ? validate_binding(v) : void();
  if (v.subresource == "eviction") return;
  if (v.subresource == "status") return validate_pod_update(v);
  Cursor spec = v["spec"];
  validate_pod_annotations(v);
  validate_pod_spec(spec, json::find(&v.object, "metadata"), true);
  if (!v.creating()) return validate_pod_update(v);
  if (!spec["ephemeralContainers"].empty()) spec["ephemeralContainers"].forbidden("cannot be set on create");
  if (!spec["schedulingGates"].empty() && !spec["nodeName"].empty())
    spec["nodeName"].forbidden("cannot be set until all schedulingGates have been cleared");
}

}  // namespace kcube::machinery
