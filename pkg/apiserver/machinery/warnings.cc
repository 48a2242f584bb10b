#include "pkg/apiserver/machinery/warnings.h"

#include <arpa/inet.h>

#include "pkg/apiserver/machinery/warnings_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr std::string_view kClassAnnotation = "volume.beta.kubernetes.io/storage-class", kPodNames = "Pod names and hostnames",
                           kAppArmor = "container.apparmor.security.beta.kubernetes.io/";

struct Subject {
  const Cursor& object;
  const json::value* old;   // null: a creation
  Warnings& out;
  bool creating() const { return old == nullptr; }
  // A creation, or a change of what counts as one.
  bool changed() const { return creating() || json::get_int(*old, {"metadata", "generation"}) != object["metadata"]["generation"].number(); }
};

void pod(const Subject& s) {
  Cursor metadata = s.object["metadata"];
  if (s.creating()) {
    for (const auto& [name, at] : metadata["annotations"].members())
      if (name.starts_with(kAppArmor)) warn(s.out, at, "deprecated since v1.30; use the \"appArmorProfile\" field instead");
    warn_of_pod_name(s.out, metadata["name"], "the Pod's hostname");
  }
  warn_of_pod(s.out, s.object);
}

void pod_template(const Subject& s) { warn_of_pod(s.out, s.object["template"]); }

// What makes pods by a template, whose names begin with its own.
void workload(const Subject& s) {
  if (s.creating()) warn_of_pod_name(s.out, s.object["metadata"]["name"], kPodNames);
  if (s.changed()) warn_of_pod(s.out, s.object["spec"]["template"]);
}

void daemon_set(const Subject& s) {
  if (s.changed()) warn_of_pod(s.out, s.object["spec"]["template"]);
}

void stateful_set(const Subject& s) {
  Cursor spec = s.object["spec"], history = spec["revisionHistoryLimit"];
  if (!s.changed()) return;
  warn_of_pod(s.out, spec["template"]);
  for (const Cursor& claim : spec["volumeClaimTemplates"].items())
    for (std::string_view list : {"requests", "limits"}) {
      Cursor amount = claim["spec"]["resources"][list].entry("storage");
      warn_of_fraction(s.out, amount.renamed(claim.path() + ".resources." + std::string(list) + "[storage]"));
    }
  if (history.number() < 0) warn(s.out, history, "a negative value retains all historical revisions; a value >= 0 is recommended");
}

void job(const Subject& s) {
  workload(s);
  Cursor spec = s.object["spec"];
  if (spec["completionMode"].text() == "Indexed" && spec["completions"].number() > 100000 && spec["parallelism"].number() > 10000)
    warn(s.out, spec, "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track "
                      "completedIndexes when a big number of indexes fail");
}

void cron_job(const Subject& s) {
  if (s.creating()) warn_of_pod_name(s.out, s.object["metadata"]["name"], kPodNames);
  if (s.changed()) warn_of_pod(s.out, s.object["spec"]["jobTemplate"]["spec"]["template"]);
}

void ingress(const Subject& s) {
  if (s.object["metadata"]["annotations"].entry("kubernetes.io/ingress.class").present())
    s.out.push_back("annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
}

void class_annotation(const Subject& s) {
  if (Cursor at = s.object["metadata"]["annotations"].entry(kClassAnnotation); at.present())
    warn(s.out, at, "deprecated since v1.8; use \"storageClassName\" attribute instead");
}

void volume(const Subject& s) {
  Cursor spec = s.object["spec"];
  class_annotation(s);
  if (spec["persistentVolumeReclaimPolicy"].text() == "Recycle")
    warn(s.out, spec["persistentVolumeReclaimPolicy"], "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
  for (const Cursor& term : spec["nodeAffinity"]["required"]["nodeSelectorTerms"].items()) warn_of_node_terms(s.out, term, false);
  for (const auto& [member, text] : {std::pair{"cephfs", "deprecated in v1.28, non-functional in v1.31+"}, std::pair{"photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
                                     std::pair{"scaleIO", "deprecated in v1.16, non-functional in v1.22+"}, std::pair{"storageos", "deprecated in v1.22, non-functional in v1.25+"},
                                     std::pair{"glusterfs", "deprecated in v1.25, non-functional in v1.26+"}, std::pair{"rbd", "deprecated in v1.28, non-functional in v1.31+"}})
    if (spec[member].present()) warn(s.out, spec[member], text);
}

void claim(const Subject& s) {
  class_annotation(s);
  for (std::string_view list : {"requests", "limits"}) warn_of_fraction(s.out, s.object["spec"]["resources"][list].entry("storage"));
}

void storage_class(const Subject& s) {
  for (const Cursor& term : s.object["allowedTopologies"].items())
    for (const Cursor& e : term["matchLabelExpressions"].items())
      if (std::string_view text = deprecated_node_label(e["key"].text()); !text.empty()) warn(s.out, e["key"], std::string(text));
}

void runtime_class(const Subject& s) {
  Cursor selector = s.object["scheduling"]["nodeSelector"];
  for (const auto& [label, value] : selector.members())
    if (std::string_view text = deprecated_node_label(label); !text.empty()) warn(s.out, selector, std::string(text));
}

void storage_capacity(const Subject& s) {
  Cursor labels = s.object["nodeTopology"]["matchLabels"];
  for (const auto& [label, value] : labels.members())
    if (std::string_view text = deprecated_node_label(label); !text.empty()) warn(s.out, labels[label], std::string(text));
}

void csi_driver(const Subject& s) {
  Cursor spec = s.object["spec"], secrets = spec["serviceAccountTokenInSecrets"];
  if (!spec["tokenRequests"].empty() && !secrets.present())
    s.out.push_back(secrets.path() + " is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes");
}

void endpoint_slice(const Subject& s) {
  if (s.object["addressType"].text() == "FQDN") warn(s.out, s.object["addressType"].renamed("spec.addressType"), "FQDN endpoints are deprecated");
}

void node(const Subject& s) {
  if (Cursor id = s.object["spec"]["externalID"]; !id.empty()) warn(s.out, id, "this field is deprecated, and is unused by Kubernetes");
}

void warn_of_cidr(Warnings& out, const Cursor& cidr) {
  const std::string_view text = cidr.text();
  const size_t slash = text.find('/');
  in6_addr address;
  char canonical[INET6_ADDRSTRLEN];
  if (slash == std::string_view::npos || inet_pton(AF_INET6, std::string(text.substr(0, slash)).c_str(), &address) != 1) return;
  inet_ntop(AF_INET6, &address, canonical, sizeof(canonical));
  const std::string wanted = canonical + std::string(text.substr(slash));
  if (wanted != text) warn(out, cidr, "IPv6 CIDR value \"" + std::string(text) + "\" should be in RFC 5952 canonical format (\"" + wanted + "\")");
}

void service(const Subject& s) {
  Cursor spec = s.object["spec"];
  if (spec["clusterIP"].text() == "None") {
    if (!spec["loadBalancerIP"].empty()) s.out.push_back("spec.loadBalancerIP is ignored for headless services");
    if (!spec["externalIPs"].empty()) s.out.push_back("spec.externalIPs is ignored for headless services");
    if (spec["sessionAffinity"].text() != "None") s.out.push_back("spec.SessionAffinity is ignored for headless services");
  } else if (!spec["externalIPs"].empty()) {
    s.out.push_back("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
  }
  for (const Cursor& ip : spec["externalIPs"].items()) warn_of_ip(s.out, ip);
  warn_of_ip(s.out, spec["loadBalancerIP"]);
  for (const Cursor& range : spec["loadBalancerSourceRanges"].items()) warn_of_cidr(s.out, range);
}

void network_policy(const Subject& s) {
  for (const auto& [list, side] : {std::pair{"ingress", "from"}, std::pair{"egress", "to"}})
    for (const Cursor& rule : s.object["spec"][list].items())
      for (const Cursor& peer : rule[side].items()) {
        warn_of_cidr(s.out, peer["ipBlock"]["cidr"]);
        for (const Cursor& except : peer["ipBlock"]["except"].items()) warn_of_cidr(s.out, except);
      }
}

struct Entry {
  std::string_view group, resource;
  void (*look)(const Subject&);
};
constexpr Entry kEntries[] = {
    {"", "nodes", node},
    {"", "persistentvolumeclaims", claim},
    {"", "persistentvolumes", volume},
    {"", "pods", pod},
    {"", "podtemplates", pod_template},
    {"", "replicationcontrollers", workload},
    {"", "services", service},
    {"apps", "daemonsets", daemon_set},
    {"apps", "deployments", workload},
    {"apps", "replicasets", workload},
    {"apps", "statefulsets", stateful_set},
    {"batch", "cronjobs", cron_job},
    {"batch", "jobs", job},
    {"discovery.k8s.io", "endpointslices", endpoint_slice},
    {"networking.k8s.io", "ingresses", ingress},
    {"networking.k8s.io", "networkpolicies", network_policy},
    {"node.k8s.io", "runtimeclasses", runtime_class},
    {"storage.k8s.io", "csidrivers", csi_driver},
    {"storage.k8s.io", "csistoragecapacities", storage_capacity},
    {"storage.k8s.io", "storageclasses", storage_class},
};

}  // namespace

std::vector<std::string> warnings(const api::ResourceInfo& resource, const json::value& object, const json::value* old) {
  Warnings out;
  for (const Entry& entry : kEntries) {
    if (entry.group != resource.group || entry.resource != resource.resource) continue;
    std::vector<Cause> none;
    entry.look({Cursor(&object, "", none), old, out});
  }
  return out;
}

}  // namespace kcube::machinery
