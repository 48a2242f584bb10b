// What is odd about a pod, or a template of one.
#include <arpa/inet.h>

#include <set>

#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/warnings_rules.h"

namespace kcube::machinery {
namespace {

struct Text {
  std::string_view name, text;
};

constexpr Text kNodeLabels[] = {
    {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
    {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
    {"failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
    {"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
    {"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
};
constexpr Text kAnnotations[] = {
    {"scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
    {"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
    {"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
};
// Volumes by member, and how the path of each ends.
struct Plugin {
  const char *member, *shown, *text;
};
constexpr Plugin kPlugins[] = {
    {"photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
    {"gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
    {"scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
    {"flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"},
    {"storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
    {"glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
    {"cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
    {"rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"},
};
constexpr std::string_view kPodSeccomp = "seccomp.security.alpha.kubernetes.io/pod",
                           kSeccomp = "container.seccomp.security.alpha.kubernetes.io/", kNoSelector = "a null labelSelector results in matching no pod";

std::string quoted(std::string_view text) { return json::serialize(json::value(json::key(text))); }

void warn_of_placement(Warnings& out, const Cursor& spec) {
  for (const auto& [label, value] : spec["nodeSelector"].members())
    if (std::string_view text = deprecated_node_label(label); !text.empty()) warn(out, value, std::string(text));
  Cursor affinity = spec["affinity"]["nodeAffinity"];
  for (const Cursor& term : affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].items()) warn_of_node_terms(out, term, false);
  for (const Cursor& term : affinity["preferredDuringSchedulingIgnoredDuringExecution"].items()) warn_of_node_terms(out, term["preference"], true);
  for (const Cursor& spread : spec["topologySpreadConstraints"].items()) {
    Cursor key = spread["topologyKey"];
    if (std::string_view text = deprecated_node_label(key.text()); !text.empty()) warn(out, key, std::string(key.text()) + " is " + std::string(text));
    if (!spread["labelSelector"].present()) warn(out, spread["labelSelector"], std::string(kNoSelector));
  }
}

void warn_of_annotations(Warnings& out, const Cursor& annotations) {
  for (const Text& a : kAnnotations)
    if (Cursor at = annotations.entry(a.name); at.present()) warn(out, at, std::string(a.text));
  for (const auto& [name, at] : annotations.members())
    if (name == kPodSeccomp) warn(out, at, "non-functional in v1.27+; use the \"seccompProfile\" field instead");
  for (const auto& [name, at] : annotations.members())
    if (name.starts_with(kSeccomp)) warn(out, at, "non-functional in v1.27+; use the \"seccompProfile\" field instead");
}

bool overlap(std::string_view a, std::string_view b) {
  if (a.size() < b.size()) std::swap(a, b);
  return a == b || (a.starts_with(b) && a[b.size()] == '/');
}

// A file that a volume holds, and of which of its sources.
struct File {
  std::string_view path;
  std::string source;
};

void warn_of_files(Warnings& out, const std::string& volume, const std::vector<File>& files) {
  auto shown = [](const File& f) { return quoted(f.path) + (f.source.empty() ? "" : " (" + f.source + ")"); };
  for (size_t i = 0; i < files.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      if (overlap(files[i].path, files[k].path)) out.push_back(volume + ": overlapping paths: " + shown(files[i]) + " with " + shown(files[k]));
}

void add_files(std::vector<File>& files, const Cursor& items, const std::string& source) {
  for (const Cursor& item : items.items()) files.push_back({item["path"].text(), source});
}

std::string named(const char* kind, const Cursor& name) { return std::string(kind) + " " + quoted(name.text()); }

void warn_of_paths(Warnings& out, const Cursor& volume) {
  const std::string head = "volume " + quoted(volume["name"].text());
  Cursor secret = volume["secret"], map = volume["configMap"], downward = volume["downwardAPI"], projected = volume["projected"];
  std::vector<File> files;
  for (const auto& [at, what] : {std::pair{map, named("ConfigMap", map["name"])}, std::pair{secret, named("Secret", secret["secretName"])}, std::pair{downward, std::string("DownwardAPI")}}) {
    if (!at.present()) continue;
    add_files(files, at["items"], "");
    return warn_of_files(out, head + " (" + what + ")", files);
  }
  for (const Cursor& source : projected["sources"].items()) {
    Cursor token = source["serviceAccountToken"], bundle = source["clusterTrustBundle"];
    add_files(files, source["configMap"]["items"], named("ConfigMap", source["configMap"]["name"]));
    add_files(files, source["secret"]["items"], named("Secret", source["secret"]["name"]));
    add_files(files, source["downwardAPI"]["items"], "DownwardAPI");
    if (token.present()) files.push_back({token["path"].text(), "ServiceAccountToken"});
    if (bundle.present()) files.push_back({bundle["path"].text(), bundle["name"].present() ? named("ClusterTrustBundle", bundle["name"]) : named("ClusterTrustBundle", bundle["signerName"])});
  }
  warn_of_files(out, head + " (Projected)", files);
}

void warn_of_volumes(Warnings& out, const Cursor& volumes) {
  for (const Cursor& volume : volumes.items()) {
    for (const Plugin& p : kPlugins)
      if (volume[p.member].present()) warn(out, volume[p.shown], p.text);
    if (Cursor claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]; claim.present())
      for (std::string_view list : {"requests", "limits"}) warn_of_fraction(out, claim["resources"][list].entry("storage"));
  }
  for (const Cursor& volume : volumes.items()) warn_of_paths(out, volume);
}

void warn_of_lists(Warnings& out, const Cursor& spec) {
  for (const auto& [list, member] : {std::pair{"hostAliases", "ip"}, std::pair{"imagePullSecrets", "name"}}) {
    std::set<std::string_view> seen;
    for (const Cursor& item : spec[list].items())
      if (!seen.insert(item[member].text()).second) warn(out, item[member], "duplicate " + std::string(member) + " " + quoted(item[member].text()));
  }
  for (const Cursor& secret : spec["imagePullSecrets"].items())
    if (secret["name"].empty()) warn(out, secret["name"], "invalid empty name \"\"");
}

std::vector<Cursor> all_containers(const Cursor& spec) {
  std::vector<Cursor> all;
  for (std::string_view list : {"initContainers", "containers", "ephemeralContainers"})
    for (Cursor& container : spec[list].items()) all.push_back(std::move(container));
  return all;
}

void warn_of_container(Warnings& out, const Cursor& container) {
  for (std::string_view list : {"limits", "requests"})
    for (std::string_view name : {"memory", "ephemeral-storage"}) warn_of_fraction(out, container["resources"][list].entry(name));
  std::set<std::string_view> seen;
  for (const Cursor& env : container["env"].items())
    if (!seen.insert(env["name"].text()).second) warn(out, env, "hides previous definition of " + quoted(env["name"].text()) + ", which may be dropped when using apply");
}

// What two ports have to do with each other, or nothing.
std::string_view likeness(const Cursor& a, const Cursor& b) {
  if (a["containerPort"].number() != b["containerPort"].number() || a["protocol"].text() != b["protocol"].text()) return {};
  const int64_t x = a["hostPort"].number(), y = b["hostPort"].number();
  const bool same_ip = a["hostIP"].text() == b["hostIP"].text();
  if (x == y && same_ip) return "duplicate";
  if (x == 0 || y == 0) return "overlapping";
  return x == y && (a["hostIP"].empty() || b["hostIP"].empty()) ? "dangerously ambiguous" : "";
}

void warn_of_ports(Warnings& out, const std::vector<Cursor>& containers) {
  std::vector<Cursor> before;
  for (const Cursor& container : containers) {
    const size_t others = before.size();
    for (const Cursor& port : container["ports"].items()) {
      for (const Cursor& earlier : before)
        if (std::string_view how = likeness(port, earlier); !how.empty()) warn(out, port, std::string(how) + " port definition with " + earlier.path());
      for (size_t i = 0; i < others && !port["name"].empty(); ++i)
        if (before[i]["name"].text() == port["name"].text()) {
          const std::string& other = before[i].path();
          warn(out, port, "duplicate port name " + quoted(port["name"].text()) + " with " + other + ", services and probes that select ports by name will use " + other);
          break;
        }
      before.push_back(port);
    }
  }
}

void warn_of_selectors(Warnings& out, const Cursor& affinity) {
  for (std::string_view kind : {"podAffinity", "podAntiAffinity"}) {
    for (const Cursor& term : affinity[kind]["requiredDuringSchedulingIgnoredDuringExecution"].items())
      if (!term["labelSelector"].present()) warn(out, term["labelSelector"], std::string(kNoSelector));
    for (const Cursor& term : affinity[kind]["preferredDuringSchedulingIgnoredDuringExecution"].items())
      if (Cursor selector = term["podAffinityTerm"]["labelSelector"]; !selector.present()) warn(out, selector, std::string(kNoSelector));
  }
}

}  // namespace

std::string_view deprecated_node_label(std::string_view label) {
  for (const Text& t : kNodeLabels)
    if (t.name == label) return t.text;
  return {};
}

void warn_of_node_terms(Warnings& out, const Cursor& term, bool check_values) {
  for (const Cursor& e : term["matchExpressions"].items()) {
    Cursor key = e["key"];
    if (std::string_view text = deprecated_node_label(key.text()); !text.empty()) warn(out, key, std::string(key.text()) + " is " + std::string(text));
    if (!check_values) continue;
    for (const Cursor& value : e["values"].items())
      if (std::string problem = api::check_label_value(value.text()); !problem.empty()) warn(out, value, std::string(value.text()) + " is invalid, " + problem);
  }
}

void warn_of_fraction(Warnings& out, const Cursor& amount) {
  if (!amount.present()) return;
  const auto quantity = api::Quantity::from_json(amount.value());
  if (quantity.milli_value() % 1000 != 0) warn(out, amount, "fractional byte value " + quoted(quantity.to_string()) + " is invalid, must be an integer");
}

void warn_of_ip(Warnings& out, const Cursor& ip) {
  const std::string text(ip.text());
  in6_addr address;
  char canonical[INET6_ADDRSTRLEN];
  if (inet_pton(AF_INET6, text.c_str(), &address) != 1 || inet_ntop(AF_INET6, &address, canonical, sizeof(canonical)) == nullptr || text == canonical) return;
  warn(out, ip, "IPv6 address " + quoted(text) + " should be in RFC 5952 canonical format (" + quoted(canonical) + ")");
}

void warn_of_pod_name(Warnings& out, const Cursor& name, std::string_view what) {
  if (std::string problem = api::check_dns1123_label(name.text()); !problem.empty())
    warn(out, name, "this is used in " + std::string(what) + ", which can result in surprising behavior; a DNS label is recommended: [" + problem + "]");
}

void warn_of_pod(Warnings& out, const Cursor& pod) {
  Cursor spec = pod["spec"];
  warn_of_placement(out, spec);
  warn_of_annotations(out, pod["metadata"]["annotations"]);
  warn_of_volumes(out, spec["volumes"]);
  warn_of_lists(out, spec);
  for (std::string_view name : {"memory", "ephemeral-storage"}) warn_of_fraction(out, spec["overhead"].entry(name));
  const std::vector<Cursor> containers = all_containers(spec);
  for (const Cursor& container : containers) warn_of_container(out, container);
  warn_of_ports(out, containers);
  warn_of_selectors(out, spec["affinity"]);
  for (const Cursor& ip : spec["dnsConfig"]["nameservers"].items()) warn_of_ip(out, ip);
  for (const Cursor& alias : spec["hostAliases"].items()) warn_of_ip(out, alias["ip"]);
}

}  // namespace kcube::machinery
