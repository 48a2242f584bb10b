#include "pkg/apiserver/admission/pod_security_checks.h"

#include <algorithm>
#include <set>
#include <vector>

#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

using Names = std::vector<std::string>;

struct Pod {
  const json::value* metadata;
  const json::value& spec;
  int minor;
  bool windows() const { return json::get_string(spec, {"os", "name"}) == "windows"; }
  const json::value* context() const { return json::find(&spec, "securityContext"); }
};

// Empty when the pod passes.
using Check = std::string (*)(const Pod&);

template <typename Visit>
void each_container(const Pod& pod, const Visit& visit) {
  for (const char* list : {"initContainers", "containers", "ephemeralContainers"})
    for (const json::value& c : json::get_array(json::find(&pod.spec, list))) visit(c, json::find(&c, "securityContext"));
}

template <typename Bad>
Names containers_that(const Pod& pod, const Bad& bad) {
  Names out;
  each_container(pod, [&](const json::value& c, const json::value* context) {
    if (bad(c, context)) out.emplace_back(json::get_string(c, {"name"}));
  });
  return out;
}

template <typename List>
std::string quoted(const List& names) {
  std::string text;
  for (const std::string& n : names) text += (text.empty() ? "\"" : ", \"") + n + "\"";
  return text;
}

template <typename List>
std::string these(std::string_view one, const List& names) { return std::string(one) + (names.size() == 1 ? " " : "s ") + quoted(names); }
std::string violation(std::string_view reason, const std::string& detail) { return std::string(reason) + " (" + detail + ")"; }

// The pod and those of its containers that set something bad, and the bad values.
struct Setters {
  Names who;
  std::set<std::string> values;
  bool any() const { return !who.empty(); }
  std::string text() const { return join(who, " and "); }
};

template <typename BadValue>
Setters setters_of(const Pod& pod, const BadValue& bad_value) {
  Setters out;
  auto look = [&](const json::value* context) {
    std::optional<std::string> bad = bad_value(context);
    if (bad) out.values.insert(*bad);
    return bad.has_value();
  };
  if (look(pod.context())) out.who.emplace_back("pod");
  Names names = containers_that(pod, [&](const json::value&, const json::value* context) { return look(context); });
  if (!names.empty()) out.who.push_back(these("container", names));
  return out;
}

std::set<std::string> added_capabilities(const json::value* context, std::initializer_list<std::string_view> allowed) {
  std::set<std::string> out;
  for (const json::value& c : json::get_array(json::at(context, {"capabilities", "add"})))
    if (std::ranges::find(allowed, json::get_string(&c)) == allowed.end()) out.emplace(json::get_string(&c));
  return out;
}

// --- Baseline -----------------------------------------------------------------------------------------------------------

std::string app_armor(const Pod& pod) {
  Setters bad = setters_of(pod, [](const json::value* context) -> std::optional<std::string> {
    std::string type(json::get_string(json::at(context, {"appArmorProfile", "type"})));
    if (type.empty() || type == "RuntimeDefault" || type == "Localhost") return std::nullopt;
    return type;
  });
  Names annotations;
  for (const auto& m : json::get_object(json::find(pod.metadata, "annotations"))) {
    std::string_view key = json::view(m.key()), value = json::get_string(&m.value());
    if (!key.starts_with("container.apparmor.security.beta.kubernetes.io/")) continue;
    if (value.empty() || value == "runtime/default" || value.starts_with("localhost/")) continue;
    annotations.emplace_back(key);
    bad.values.insert(std::string(key) + "=\"" + std::string(value) + "\"");
  }
  if (!annotations.empty()) bad.who.emplace_back(annotations.size() == 1 ? "annotation" : "annotations");
  if (!bad.any()) return {};
  return violation(bad.values.size() == 1 ? "forbidden AppArmor profile" : "forbidden AppArmor profiles",
                   bad.text() + " must not set AppArmor profile type to " + quoted(bad.values));
}

std::string default_capabilities(const Pod& pod) {
  std::set<std::string> found;
  Names bad = containers_that(pod, [&](const json::value&, const json::value* context) {
    auto more = added_capabilities(context, {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                                             "SETPCAP", "SETUID", "SYS_CHROOT"});
    found.insert(more.begin(), more.end());
    return !more.empty();
  });
  if (bad.empty()) return {};
  return violation("non-default capabilities", these("container", bad) + " must not include " + quoted(found) + " in securityContext.capabilities.add");
}

std::string host_namespaces(const Pod& pod) {
  Names set;
  for (const char* name : {"hostNetwork", "hostPID", "hostIPC"})
    if (json::get_bool(pod.spec, {name})) set.push_back(std::string(name) + "=true");
  return set.empty() ? "" : violation("host namespaces", join(set, ", "));
}

std::string host_path_volumes(const Pod& pod) {
  Names bad;
  for (const json::value& v : json::get_array(json::find(&pod.spec, "volumes")))
    if (json::find(&v, "hostPath") != nullptr) bad.emplace_back(json::get_string(v, {"name"}));
  return bad.empty() ? "" : violation("hostPath volumes", these("volume", bad));
}

std::string host_ports(const Pod& pod) {
  std::set<std::string> ports;
  Names bad = containers_that(pod, [&](const json::value& c, const json::value*) {
    bool any = false;
    for (const json::value& p : json::get_array(json::find(&c, "ports"))) {
      int64_t port = json::get_int(p, {"hostPort"});
      if (port == 0) continue;
      any = true;
      ports.insert(std::to_string(port));
    }
    return any;
  });
  if (bad.empty()) return {};
  return violation("hostPort", these("container", bad) + (bad.size() == 1 ? " uses " : " use ") + (ports.size() == 1 ? "hostPort " : "hostPorts ") +
                                   join(Names(ports.begin(), ports.end()), ", "));
}

// Probes and hooks may not be sent to another host than the pod.
std::string probe_hosts(const Pod& pod) {
  std::set<std::string> hosts;
  bool any = false;
  auto look = [&](const json::value* action) {
    for (const char* kind : {"httpGet", "tcpSocket"}) {
      std::string host(json::get_string(json::at(action, {kind, "host"})));
      if (host.empty()) continue;
      any = true;
      hosts.insert(host);
    }
  };
  Names bad = containers_that(pod, [&](const json::value& c, const json::value*) {
    any = false;
    for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) look(json::find(&c, probe));
    for (const char* hook : {"postStart", "preStop"}) look(json::at(&c, {"lifecycle", hook}));
    return any;
  });
  if (bad.empty()) return {};
  return violation("probe or lifecycle host", these("container", bad) + (bad.size() == 1 ? " uses " : " use ") + "probe or lifecycle " +
                                                  (hosts.size() == 1 ? "host " : "hosts ") + quoted(hosts));
}

std::string privileged(const Pod& pod) {
  Names bad = containers_that(pod, [](const json::value&, const json::value* context) { return json::get_bool(json::find(context, "privileged")); });
  return bad.empty() ? "" : violation("privileged", these("container", bad) + " must not set securityContext.privileged=true");
}

bool has_user_namespace(const Pod& pod) {
  const json::value* host_users = json::find(&pod.spec, "hostUsers");
  return pod.minor >= 35 && host_users != nullptr && !json::get_bool(host_users);
}

std::string proc_mount_restricted(const Pod& pod) {
  std::set<std::string> types;
  Names bad = containers_that(pod, [&](const json::value&, const json::value* context) {
    std::string type(json::get_string(json::find(context, "procMount")));
    if (type.empty() || type == "Default") return false;
    types.insert(type);
    return true;
  });
  return bad.empty() ? "" : violation("procMount", these("container", bad) + " must not set securityContext.procMount to " + quoted(types));
}

std::string proc_mount(const Pod& pod) { return has_user_namespace(pod) ? std::string() : proc_mount_restricted(pod); }

std::string selinux(const Pod& pod) {
  bool user = false, role = false;
  std::set<std::string> types;
  Setters bad = setters_of(pod, [&](const json::value* context) -> std::optional<std::string> {
    const json::value* options = json::find(context, "seLinuxOptions");
    std::string type(json::get_string(json::find(options, "type")));
    bool known = type.empty() || type == "container_t" || type == "container_init_t" || type == "container_kvm_t" || (type == "container_engine_t" && pod.minor >= 31);
    bool sets_user = !json::get_string(json::find(options, "user")).empty(), sets_role = !json::get_string(json::find(options, "role")).empty();
    if (!known) types.insert(type);
    user |= sets_user;
    role |= sets_role;
    if (known && !sets_user && !sets_role) return std::nullopt;
    return type;
  });
  if (!bad.any()) return {};
  Names data;
  if (!types.empty()) data.push_back(these("type", types));
  if (user) data.emplace_back("user may not be set");
  if (role) data.emplace_back("role may not be set");
  return violation("seLinuxOptions", bad.text() + " set forbidden securityContext.seLinuxOptions: " + join(data, "; "));
}

Setters bad_seccomp(const Pod& pod) {
  return setters_of(pod, [](const json::value* context) -> std::optional<std::string> {
    std::string type(json::get_string(json::at(context, {"seccompProfile", "type"})));
    if (type.empty() || type == "RuntimeDefault" || type == "Localhost") return std::nullopt;
    return type;
  });
}

std::string seccomp_baseline(const Pod& pod) {
  Setters bad = bad_seccomp(pod);
  return bad.any() ? violation("seccompProfile", bad.text() + " must not set securityContext.seccompProfile.type to " + quoted(bad.values)) : "";
}

std::string sysctls(const Pod& pod) {
  struct Since {
    std::string_view name;
    int minor;
  };
  static constexpr Since kAllowed[] = {
      {"kernel.shm_rmid_forced", 0},         {"net.ipv4.ip_local_port_range", 0}, {"net.ipv4.tcp_syncookies", 0},       {"net.ipv4.ping_group_range", 0},
      {"net.ipv4.ip_unprivileged_port_start", 0}, {"net.ipv4.ip_local_reserved_ports", 27}, {"net.ipv4.tcp_keepalive_time", 29}, {"net.ipv4.tcp_fin_timeout", 29},
      {"net.ipv4.tcp_keepalive_intvl", 29},  {"net.ipv4.tcp_keepalive_probes", 29}, {"net.ipv4.tcp_rmem", 32},          {"net.ipv4.tcp_wmem", 32},
  };
  Names bad;
  for (const json::value& s : json::get_array(json::find(pod.context(), "sysctls"))) {
    std::string_view name = json::get_string(s, {"name"});
    if (std::ranges::none_of(kAllowed, [&](const Since& a) { return a.name == name && pod.minor >= a.minor; })) bad.emplace_back(name);
  }
  return bad.empty() ? "" : violation("forbidden sysctls", join(bad, ", "));
}

std::string host_process(const Pod& pod) {
  Setters bad = setters_of(pod, [](const json::value* context) -> std::optional<std::string> {
    if (!json::get_bool(json::at(context, {"windowsOptions", "hostProcess"}))) return std::nullopt;
    return "true";
  });
  return bad.any() ? violation("hostProcess", bad.text() + " must not set securityContext.windowsOptions.hostProcess=true") : "";
}

// --- Restricted ---------------------------------------------------------------------------------------------------------

bool exempt_windows(const Pod& pod) { return pod.minor >= 25 && pod.windows(); }

std::string privilege_escalation(const Pod& pod) {
  if (exempt_windows(pod)) return {};
  Names bad = containers_that(pod, [](const json::value&, const json::value* context) { return json::get_bool(json::find(context, "allowPrivilegeEscalation"), true); });
  return bad.empty() ? "" : violation("allowPrivilegeEscalation != false", these("container", bad) + " must set securityContext.allowPrivilegeEscalation=false");
}

std::string dropped_capabilities(const Pod& pod) {
  if (exempt_windows(pod)) return {};
  Names keeping, adding;
  std::set<std::string> found;
  each_container(pod, [&](const json::value& c, const json::value* context) {
    const json::array& dropped = json::get_array(json::at(context, {"capabilities", "drop"}));
    if (std::ranges::none_of(dropped, [](const json::value& d) { return json::get_string(&d) == "ALL"; })) keeping.emplace_back(json::get_string(c, {"name"}));
    auto more = added_capabilities(context, {"NET_BIND_SERVICE"});
    if (!more.empty()) adding.emplace_back(json::get_string(c, {"name"}));
    found.insert(more.begin(), more.end());
  });
  Names details;
  if (!keeping.empty()) details.push_back(these("container", keeping) + " must set securityContext.capabilities.drop=[\"ALL\"]");
  if (!adding.empty()) details.push_back(these("container", adding) + " must not include " + quoted(found) + " in securityContext.capabilities.add");
  return details.empty() ? "" : violation("unrestricted capabilities", join(details, "; "));
}

std::string volume_types(const Pod& pod) {
  static constexpr std::string_view kAllowed[] = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"};
  Names bad;
  std::set<std::string> types;
  for (const json::value& v : json::get_array(json::find(&pod.spec, "volumes"))) {
    std::string type = "unknown";
    for (const auto& m : json::get_object(&v))
      if (m.key() != "name") type = m.key();
    if (std::ranges::find(kAllowed, type) != std::end(kAllowed)) continue;
    bad.emplace_back(json::get_string(v, {"name"}));
    types.insert(type);
  }
  if (bad.empty()) return {};
  return violation("restricted volume types", these("volume", bad) + (bad.size() == 1 ? " uses " : " use ") + these("restricted volume type", types));
}

std::string run_as_non_root(const Pod& pod) {
  if (has_user_namespace(pod)) return {};
  const json::value* of_pod = json::find(pod.context(), "runAsNonRoot");
  Names who, silent;
  if (of_pod != nullptr && !json::get_bool(of_pod)) who.emplace_back("pod");
  Names saying_no = containers_that(pod, [&](const json::value& c, const json::value* context) {
    const json::value* own = json::find(context, "runAsNonRoot");
    if (own == nullptr && !json::get_bool(of_pod)) silent.emplace_back(json::get_string(c, {"name"}));
    return own != nullptr && !json::get_bool(own);
  });
  if (!saying_no.empty()) who.push_back(these("container", saying_no));
  if (!who.empty()) return violation("runAsNonRoot != true", join(who, " and ") + " must not set securityContext.runAsNonRoot=false");
  return silent.empty() ? "" : violation("runAsNonRoot != true", "pod or " + these("container", silent) + " must set securityContext.runAsNonRoot=true");
}

std::string run_as_user(const Pod& pod) {
  if (has_user_namespace(pod)) return {};
  Setters bad = setters_of(pod, [](const json::value* context) -> std::optional<std::string> {
    const json::value* user = json::find(context, "runAsUser");
    if (user == nullptr || json::get_int(user) != 0) return std::nullopt;
    return "0";
  });
  return bad.any() ? violation("runAsUser=0", bad.text() + " must not set runAsUser=0") : "";
}

std::string seccomp_restricted(const Pod& pod) {
  if (exempt_windows(pod)) return {};
  if (std::string bad = seccomp_baseline(pod); !bad.empty()) return bad;
  auto set = [](const json::value* context) { return !json::get_string(json::at(context, {"seccompProfile", "type"})).empty(); };
  if (set(pod.context())) return {};
  Names silent = containers_that(pod, [&](const json::value&, const json::value* context) { return !set(context); });
  return silent.empty() ? "" : violation("seccompProfile", "pod or " + these("container", silent) + " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
}

struct Row {
  Check check;
  int since = 0;
  int replaced_since = SecurityPolicy::kLatest + 1;   // of baseline's: restricted has a stricter one from then on
};

constexpr Row kBaseline[] = {
    {app_armor},  {default_capabilities, 0, 22}, {host_namespaces}, {host_path_volumes, 0, 0}, {host_ports},
    {probe_hosts, 34}, {privileged},             {proc_mount, 0, 35},      {selinux},                 {seccomp_baseline, 0, 19},
    {sysctls},    {host_process},
};
constexpr Row kRestricted[] = {
    {privilege_escalation, 8}, {dropped_capabilities, 22}, {proc_mount_restricted, 35}, {volume_types}, {run_as_non_root}, {run_as_user, 23}, {seccomp_restricted, 19},
};

}  // namespace

std::string SecurityPolicy::to_string() const {
  constexpr std::string_view kNames[] = {"privileged", "baseline", "restricted"};
  return std::string(kNames[static_cast<int>(level)]) + ":" + (minor == kLatest ? "latest" : "v1." + std::to_string(minor));
}

std::optional<SecurityLevel> parse_security_level(std::string_view text) {
  if (text == "privileged") return SecurityLevel::privileged;
  if (text == "baseline") return SecurityLevel::baseline;
  if (text == "restricted") return SecurityLevel::restricted;
  return std::nullopt;
}

std::optional<int> parse_security_version(std::string_view text) {
  if (text == "latest") return SecurityPolicy::kLatest;
  if (!text.starts_with("v1.") || text.size() > 7 || (text.size() > 4 && text[3] == '0')) return std::nullopt;
  auto minor = parse_int<int>(text.substr(3));
  return minor && *minor >= 0 ? minor : std::nullopt;
}

std::string security_violations(const SecurityPolicy& policy, const json::value* metadata, const json::value& spec) {
  if (policy.level == SecurityLevel::privileged) return {};
  Pod pod{metadata, spec, policy.minor};
  Names found;
  auto run = [&](const Row& row) {
    if (policy.minor < row.since) return;
    if (std::string text = row.check(pod); !text.empty()) found.push_back(std::move(text));
  };
  bool restricted = policy.level == SecurityLevel::restricted;
  for (const Row& row : kBaseline)
    if (!restricted || policy.minor < row.replaced_since) run(row);
  if (restricted)
    for (const Row& row : kRestricted) run(row);
  return join(found, ", ");
}

}  // namespace kcube::apiserver
